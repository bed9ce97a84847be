"""The code stays small in its parts, and asks the linter for few exceptions."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import TYPE_CHECKING

import pytest

from demo.pipeline import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = ("tap_barchart_events", "barchart_events_emulator")
MODULES = [path for package in PACKAGES for path in sorted((PROJECT / package).rglob("*.py"))]
DATA = {"products.py"}
"""Modules that hold data only."""

MAX_LINES = 600
MAX_LINES_OF_A_FUNCTION = 50
MAX_EXCEPTIONS = 14
EXCEPTION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma)\b")


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_at_most_600_lines(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES or path.name in DATA


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the functions of a module, each with its lines from the first decorator on."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield node.name, (node.end_lineno or first) - first + 1


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_has_at_most_50_lines(path: Path) -> None:
    too_long = {name: n for name, n in functions(path) if n > MAX_LINES_OF_A_FUNCTION}
    assert too_long == {}


def exceptions(path: Path) -> Iterator[str]:
    """Yield the comments of a module that ask the linter for an exception."""
    source = io.StringIO(path.read_text(encoding="utf-8"))
    for token in tokenize.generate_tokens(source.readline):
        if token.type == tokenize.COMMENT and EXCEPTION.search(token.string):
            yield f"{name_of(path)}:{token.start[0]}: {token.string}"


def test_the_tap_asks_for_at_most_14_exceptions_of_the_linter() -> None:
    found = [one for path in MODULES if PACKAGES[0] in path.parts for one in exceptions(path)]
    assert found, "the pattern finds none"
    assert len(found) <= MAX_EXCEPTIONS, "\n".join(found)

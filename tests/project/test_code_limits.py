"""The code stays small in its parts, and asks the linter for few exceptions."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from demo.pipeline import PROJECT

TAP = sorted((PROJECT / "tap_barchart_events").rglob("*.py"))
MODULES = [*TAP, *sorted((PROJECT / "barchart_events_emulator").rglob("*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_a_module_has_at_most_600_lines_and_a_function_at_most_50(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 600
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            assert (node.end_lineno or first) - first < 50, node.name


def test_the_tap_asks_for_at_most_14_exceptions_of_the_linter() -> None:
    found = [
        f"{path.name}:{token.start[0]}: {token.string}"
        for path in TAP
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        if token.type == tokenize.COMMENT
        and re.search(r"#\s*(noqa|type:\s*ignore|pragma)\b", token.string)
    ]
    assert found, "the pattern finds none"
    assert len(found) <= 14, "\n".join(found)

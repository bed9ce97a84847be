"""The page of guarantees names tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.settings_pages import PROJECT

PAGE = (PROJECT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_the_page_names_exists(path: str, name: str) -> None:
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
    there = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert name in there


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 30

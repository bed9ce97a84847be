"""Quoting for SQL, and expressions of texts. Does not depend on events."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Part(NamedTuple):
    """A part of a text that a query joins."""

    text: str

    literal: bool = True
    """Whether the text is the part itself, or an expression of SQL."""


def literal(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def concat(parts: Iterable[Part]) -> str:
    """Return the expression that joins the parts of a text; a null part is an empty text."""
    arguments: list[str] = []
    run = ""
    for part in parts:
        if part.literal:
            run += part.text
            continue
        if run:
            arguments.append(literal(run))
            run = ""
        arguments.append(part.text)
    if run or not arguments:
        arguments.append(literal(run))
    return f"concat({', '.join(arguments)})"

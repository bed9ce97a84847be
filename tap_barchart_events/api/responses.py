"""The service's responses, parsed: job objects, links, error codes. Makes no call.

Every parser raises ``KeyError``, ``TypeError`` or ``ValueError`` for a response that is not as
documented.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = Any
"""A value of parsed JSON."""

LONGEST_SOURCE = 200
"""Characters of a ``source``; the service's have 40."""


@dataclass(frozen=True, slots=True)
class ExportFilter:
    """What an export job exports."""

    customer: str
    product: str
    start: int
    """First instant, in milliseconds."""

    end: int
    """Last instant, in milliseconds; whether it is inclusive is not documented."""

    types: tuple[str, ...] = ()
    """Event type codes; none for all."""

    def as_json(self) -> dict[str, Any]:
        """Return the ``filter`` of a request."""
        body: dict[str, Any] = {"customer": self.customer, "product": self.product}
        if self.types:
            body["types"] = list(self.types)
        return body | {"start": self.start, "end": self.end}

    def differences(self, echo: Mapping[str, Any]) -> list[str]:
        """Return the keys in which an echoed filter names another export.

        A key that the echo leaves out is not compared. A number may come as text. Types are
        compared by ``has_other_types``.
        """
        own = self.as_json()
        found = [key for key in ("customer", "product") if echo.get(key, own[key]) != own[key]]
        return found + [
            key for key in ("start", "end") if _number(echo.get(key, own[key])) != own[key]
        ]

    def has_other_types(self, echo: Mapping[str, Any]) -> bool:
        """Return whether types were requested and an echoed filter names another set of them."""
        types = echo.get("types", list(self.types))
        if not self.types:
            return False
        return not isinstance(types, list) or {*map(repr, types)} != {*map(repr, self.types)}


@dataclass(frozen=True, slots=True)
class Job:
    """An export job, as the service describes it."""

    source: str
    """The name by which calls refer to it."""

    status: str
    """``RUNNING``, ``COMPLETE`` (or ``COMPLETED``), ``TIMEOUT``, ``FAILED`` or a new one."""

    seconds: float | None
    """How long it ran, once it has ended, by the service's clock."""

    filter: Mapping[str, Any] = field(default_factory=dict)
    """What it exports, as the service echoes it: the keys that are there, unchecked."""


def parse_job(value: Json) -> Job:
    """Return the job of a job object."""
    source, status = value["source"], value["status"]
    if not all(isinstance(text, str) and text and text.isprintable() for text in (source, status)):
        raise TypeError
    if not is_source(source):
        raise ValueError
    echo = value.get("filter")
    items = echo.items() if isinstance(echo, dict) else ()
    known = {key: value for key, value in items if value is not None}
    return Job(source, status, _seconds(value.get("timing")), known)


def is_source(text: str) -> bool:
    """Return whether a text can be the name of a job, in URLs and in the log."""
    # Printable text can always be encoded. In a URL, dots name another call.
    return 0 < len(text) <= LONGEST_SOURCE and text.isprintable() and text not in {".", ".."}


def parse_link(value: Json) -> str:
    """Return the link of a response that holds one."""
    link = value["link"]
    if not isinstance(link, str) or not link:
        raise TypeError
    return link


def error_code(body: bytes) -> str | None:
    """Return the code of a documented error body."""
    try:
        code = json.loads(body)[0]["value"]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return code[:60] if isinstance(code, str) and code.isprintable() else None


def _number(value: object) -> Decimal | None:
    """Return a number, also one that comes as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return None if number.is_nan() else number  # some of those cannot be compared


def _seconds(timing: Json) -> float | None:
    """Return how long a job ran, in seconds; None if its timing is incomplete or damaged."""
    try:
        seconds = (float(timing["end"]) - float(timing["start"])) / 1000
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None

"""Validation of start requests, as strict as the vendor's public schema reader."""

from __future__ import annotations

import json
from typing import Any

FILTER = ("customer", "product", "types", "start", "end")
"""The keys of a filter, in the order in which they have to come."""


class InvalidRequestError(Exception):
    """A request that the service refuses; the message says why."""


def start_request(content_type: str, body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the ``filter`` and the ``output`` of a start request.

    Raises:
        InvalidRequestError: The body is no JSON, or a key is missing, unknown, or of a wrong type.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequestError("The body must be application/json.")
    try:
        request = _keys(json.loads(body), "body", {"filter", "output"})
    except ValueError as error:
        raise InvalidRequestError("The body is no JSON.") from error
    if "filter" not in request:
        raise InvalidRequestError("The body must hold a filter.")
    query = _keys(request["filter"], "filter", set(FILTER))
    in_order = list(query) == [key for key in FILTER if key in query]
    _refuse_unless(in_order, f"The keys of the filter must be in the order {', '.join(FILTER)}.")
    for key in ("customer", "product"):
        _refuse_unless(_is_code(query.get(key)), f"filter.{key} must be a code.")
    for key in ("start", "end"):
        whole = type(query.get(key, 0)) is int
        _refuse_unless(whole, f"filter.{key} must be a whole number of milliseconds.")
    if "start" in query and "end" in query:
        forward = query["start"] <= query["end"]
        _refuse_unless(forward, "filter.start must not come after filter.end.")
    types = query.get("types", ["all"])
    codes = isinstance(types, list) and types and all(map(_is_code, types))
    _refuse_unless(codes, "filter.types must be a list of codes, or be left out.")
    output = _keys(request.get("output", {}), "output", {"delimiter"})
    mark = output.get("delimiter", "|")
    usable = isinstance(mark, str) and len(mark) == 1 and mark not in '"\r\n'
    _refuse_unless(usable, "output.delimiter must be one character.")
    return query, output


def _refuse_unless(valid: object, message: str) -> None:
    if not valid:
        raise InvalidRequestError(message)


def _is_code(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _keys(value: object, name: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"The {name} must be an object.")
    if unknown := sorted(set(value) - known):
        raise InvalidRequestError(f"The {name} must not hold {unknown[0]!r}.")
    return value

"""The service's responses, parsed: job objects, links, errors. Makes no call.

Every parser raises ``KeyError``, ``TypeError`` or ``ValueError`` for a response that is not as
documented.
"""

from __future__ import annotations

import http.client
import json
import math
import re
from dataclasses import dataclass, field
from datetime import timezone
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from tap_barchart_events.api.http import replaced_errors
from tap_barchart_events.api.retry import (
    REFUSALS,
    TRANSIENT_STATUSES,
    TransientError,
    retry_after,
)
from tap_barchart_events.exceptions import (
    BarchartEventsError,
    CredentialsError,
    JobFailedError,
    JobForgottenError,
    JobNotReadyError,
    ServiceError,
    StartRejectedError,
)
from tap_barchart_events.windows import from_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import requests

Json: TypeAlias = Any
"""A value of parsed JSON."""

LONGEST_SOURCE = 200
"""Characters of a ``source``; the service's have 40."""

LONGEST_MESSAGE = 200
"""Characters of what the service says about an error, at most."""

LATEST = 253_370_764_800
"""The year 9999, in seconds since the epoch: a ``Date`` in it stands for no time. A little later
is beyond what a date-time can hold."""

ERRORS = {
    "EVENT_JOB_GET_FAILED_RUNNING": JobNotReadyError,
    "EVENT_JOB_GET_FAILED_NO_JOB": JobForgottenError,
    "EVENT_JOB_GET_FAILED": JobFailedError,
}
"""Documented codes of polls and links; the special ones first."""

UNREADABLE = ("SCHEMA_VALIDATION", "MALFORMED")
"""Parts of the codes by which the service says that it cannot read a request."""

URL = re.compile(r"\S*(//|\?\S*=)\S*")
"""A word that is, or holds, a URL with a scheme, a host or a query."""


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
        """Return the ``filter`` of a request.

        The vendor's public schema reader depends on the order of the keys, and on numbers.
        """
        body: dict[str, Any] = {"customer": self.customer, "product": self.product}
        if self.types:
            body["types"] = list(self.types)
        return body | {"start": self.start, "end": self.end}

    def differences(self, echo: Mapping[str, Any]) -> list[str]:
        """Return the keys in which an echoed filter names another export.

        A range that covers the requested one is no difference; its end may be the last
        millisecond. A key that the echo leaves out, or whose value cannot be read, is skipped.
        """
        customer, product = _code(echo.get("customer")), _code(echo.get("product"))
        start, end = _instant(echo.get("start")), _instant(echo.get("end"))
        differs = {
            "customer": customer is not None and customer != _code(self.customer),
            "product": product is not None and product != _code(self.product),
            "start": start is not None and start > self.start,
            "end": end is not None and end < self.end - 1,
        }
        return [key for key, value in differs.items() if value]

    def doubts(self, echo: Mapping[str, Any]) -> list[str]:
        """Return what an echoed filter gives reason to warn of: null codes, and other types."""
        types = echo.get("types")
        given = types if isinstance(types, list) else []
        unknown = {
            f"customer {self.customer}": _is_null(echo.get("customer", "")),
            f"product {self.product}": _is_null(echo.get("product", "")),
            "all event types of event_types": any(map(_is_null, given)),
        }
        texts = [
            f"the service may not know {what}: it echoes null; check the code"
            for what, is_null in unknown.items()
            if is_null
        ]
        codes = {*map(_code, given)}
        is_known = isinstance(types, list) and None not in codes
        if self.types and is_known and codes != {*map(_code, self.types)}:
            texts.append(
                "the service echoes other event types than those of the setting event_types; "
                "check that no type is missing"
            )
        return texts


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

    @property
    def has_null_product(self) -> bool:
        """Whether the service gives no product for it: it may not know the requested one."""
        return _is_null(self.filter.get("product", ""))


def parse_job(value: Json) -> Job:
    """Return the job of a job object; its status in upper case, without blanks."""
    source, status = value["source"], value["status"]
    if not isinstance(source, str) or not isinstance(status, str):
        raise TypeError
    status = status.strip().upper()
    if not is_source(source) or not status or not status.isprintable():
        raise ValueError
    echo = value.get("filter")
    known = echo if isinstance(echo, dict) else {}
    return Job(source, status, _seconds(value.get("timing")), known)


def is_source(text: str) -> bool:
    """Return whether a text can be the name of a job, in URLs and in the log."""
    # Printable text can always be encoded. In a URL, dots name another call.
    return 0 < len(text) <= LONGEST_SOURCE and text.isprintable() and text not in {".", ".."}


def parse_link(value: Json) -> str:
    """Return the link of a response that holds one."""
    link = value["link"]
    if not isinstance(link, str) or not link.strip():
        raise TypeError
    return link.strip()


def value_of(
    call: str, what: str, response: requests.Response, body: bytes, secrets: Iterable[str]
) -> Json:
    """Return the JSON of a response, or raise what an error means.

    Args:
        call: ``authenticate``, ``start``, ``poll`` or ``link``.
        what: What fails with it, for errors: ``poll job …``.
        response: Status and headers.
        body: The body.
        secrets: What the body may repeat of the request, and no log may hold.
    """
    location = response.headers.get("Location")
    if response.status_code in {302, 303, 307} and location and call == "link":
        return {"link": location}
    if not response.ok or response.is_redirect:
        raise _error(call, what, response, body, secrets)
    with replaced_errors(
        (ValueError, RecursionError),
        lambda _: TransientError(
            f"could not {what}: the response is not JSON; check api_url, and any proxy in between"
        ),
    ):
        return json.loads(body)


def _error(
    call: str, what: str, response: requests.Response, body: bytes, secrets: Iterable[str]
) -> BarchartEventsError:
    status = response.status_code
    codes, message = _said(body)
    answered = f"could not {what}: the service answered {status}"
    if message == http.client.responses.get(status):  # as a gateway says
        message = ""
    if said := _presentable(": ".join(filter(None, [", ".join(codes), message])), secrets):
        answered += f" ({said})"
    if status == HTTPStatus.UNAUTHORIZED or (
        status == HTTPStatus.FORBIDDEN and call != "authenticate"
    ):
        answered += (
            "; check username, password and customer, and that api_url is the host that they are "
            "for"
        )
        return CredentialsError(answered)
    if call in {"poll", "link"}:
        known = next((kind for code, kind in ERRORS.items() if code in codes), None)
        if known or status == HTTPStatus.NOT_FOUND:
            return (known or JobForgottenError)(answered)
    if call == "start" and codes and status not in REFUSALS:
        rejected = StartRejectedError(answered)
        rejected.is_final = any(part in code for part in UNREADABLE for code in codes)
        return rejected
    if status in TRANSIENT_STATUSES or call == "authenticate":
        return TransientError(answered, retry_after(response.headers))
    return ServiceError(answered + ", which is not documented; check api_url")


def _said(body: bytes) -> tuple[tuple[str, ...], str]:
    """Return the codes of an error body, and its first message.

    The service's errors are trees of ``{value: {code, message}, children}``. A gateway's are
    ``{message}``, without a code.
    """
    try:
        todo = [json.loads(body)]
    except (ValueError, RecursionError):
        return (), ""
    codes: dict[str, None] = {}
    messages: list[str] = []
    while todo:
        match todo.pop():
            case list(nodes):
                todo += reversed(nodes)
            case {"value": dict(own), **more}:
                todo.append(more.get("children"))
                if isinstance(code := own.get("code"), str) and code.strip():
                    codes[code.strip()] = None
                if isinstance(message := own.get("message"), str):
                    messages.append(message)
            case {"message": str(message)}:
                messages.append(message)
    return tuple(codes), next((text for text in messages if text.strip()), "")


def _presentable(text: str, secrets: Iterable[str]) -> str:
    """Return what the service says in a form that may be logged.

    Without URLs and credentials, which a gateway may repeat, percent-encoded too; in printable
    characters.
    """
    for secret in secrets:
        text = text.replace(secret, "…").replace(quote(secret, safe=""), "…")
    text = "".join(c if c.isprintable() else " " for c in URL.sub("…", text))
    return " ".join(text.split())[:LONGEST_MESSAGE].rstrip(" .")


def instant_of(date: str) -> float | None:
    """Return the instant of a ``Date`` header, in seconds since the epoch; None if it has none."""
    try:
        at = parsedate_to_datetime(date)
        said = (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return said if said < LATEST else None


def _code(value: object) -> str | None:
    """Return a code to compare, also one of an object; None if it cannot be read."""
    if isinstance(value, dict):
        value = value.get("code")
    return value.strip().casefold() or None if isinstance(value, str) else None


def _is_null(value: object) -> bool:
    """Return whether a code, or the one of an object, is null."""
    return value is None or (isinstance(value, dict) and value.get("code", "") is None)


def _instant(value: object) -> Decimal | None:
    """Return milliseconds since the epoch, also of text; None if they cannot be read."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        try:
            return Decimal(from_iso(str(value)))
        except ValueError:
            return None
    return number if number.is_finite() else None


def _seconds(timing: Json) -> float | None:
    """Return how long a job ran, in seconds; None if its timing is incomplete or damaged."""
    try:
        seconds = (float(timing["end"]) - float(timing["start"])) / 1000
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None

"""Responses and files as forms, for a log that a user can pass on without giving away data.

Kept are structure, numbers, dates, error codes, and the names of known products, event types and
columns. All other text is masked.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from tap_barchart_events.products import EVENT_TYPES, PRODUCTS

MAX_ROWS = 2_000
"""Rows of a file that are counted."""

MAX_LENGTH = 2_000
"""Characters of a form."""

KNOWN = {*PRODUCTS, *EVENT_TYPES}.union(
    *(layout for product in PRODUCTS.values() for layout in (*product.layouts, product.columns))
)
"""Names that say nothing about a user."""

HEADERS = ["Date", "Content-Type", "Content-Encoding", "Content-Length", "Content-Range"]
HEADERS += ["Transfer-Encoding", "ETag", "Retry-After", "WWW-Authenticate"]

PLAIN = re.compile(
    r"\d+|bytes \d+-\d+/\d+|chunked|gzip|identity|br|deflate|zstd"
    r"|\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
    r"|(text|application)/(csv|plain|html|xml|json|octet-stream|(x-)?gzip|zip)(; ?charset=utf-8)?",
    re.ASCII | re.IGNORECASE,
)
"""Values of headers that say nothing about a user."""

DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)

LINK = re.compile(r"(https?)://([\w.:-]+)(/[^\s?#]*)?(?:\?(\S*))?", re.ASCII)

STATUSES = frozenset({"RUNNING", "COMPLETE", "COMPLETED", "TIMEOUT", "FAILED"})

SIGNATURES = {b"PK": "as ZIP", b"\xef\xbb\xbf": "with a byte order mark"}
"""First bytes of a file → how it begins; gzip has been inflated."""


def response_form(headers: Mapping[str, str], body: bytes) -> str:
    """Return the headers and the body of a response of the API."""
    try:
        content = json.dumps(_json_form(json.loads(body)), ensure_ascii=False)
    except (RecursionError, ValueError):
        content = f"{len(body):,} bytes that are not JSON"
    return f"{headers_form(headers)} {content[:MAX_LENGTH]}"


def headers_form(headers: Mapping[str, str]) -> str:
    """Return the headers that matter."""
    found = {name: headers[name] for name in HEADERS if name in headers}
    shown = {name: t if PLAIN.fullmatch(t) else text_form(t) for name, t in found.items()}
    if "Location" in headers:
        link = headers["Location"]
        shown["Location"] = _link_form(link) if LINK.fullmatch(link) else "not a URL"
    return json.dumps(shown, ensure_ascii=False)


def _json_form(value: Any, key: str = "") -> Any:
    """Return a JSON value with the length of each text in its place."""
    if isinstance(value, dict):
        return {name: _json_form(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_json_form(part, key) for part in value]
    if not isinstance(value, str) or value in KNOWN or DATE.fullmatch(value):
        return value
    if LINK.fullmatch(value):
        return _link_form(value)
    is_code = key == "code" and re.fullmatch(r"EVENT_[A-Z_]{1,80}", value)
    is_status = key == "status" and value in STATUSES
    return value if is_code or is_status else f"{len(value)} characters"


def _link_form(link: str) -> str:
    """Return scheme and host of a link, how its path ends, and the names of its parameters."""
    scheme, host, path, query = LINK.fullmatch(link.strip()).groups("")  # type: ignore[union-attr]
    end = re.search(r"(\.(csv|txt|gz|zip))*$", path)
    names = re.findall(r"(?:^|&)([A-Za-z][\w-]{0,40})=", query, re.ASCII)
    return f"{scheme}://{host}/…{end[0] if end else ''}?{'&'.join(names)}"


def text_form(text: str) -> str:
    """Return a text with digits as 9, and all else but ASCII punctuation and blanks as a."""
    digits = re.sub(r"\d", "9", text[:MAX_LENGTH])
    return re.sub(r"[^9\x20-\x2f:-@\[-`{-~]", "a", digits)


def file_form(path: Path, delimiter: str) -> str:
    """Return the form of a file: size, beginning, rows, line ends, quotes, and two of its rows."""
    with path.open("rb") as file:
        lines = [*islice(iter(lambda: file.readline(MAX_LENGTH), b""), MAX_ROWS)]
    content = b"".join(lines)
    begins = next((how for sign, how in SIGNATURES.items() if content.startswith(sign)), "as text")
    rows = [line.decode(errors="replace").rstrip("\r\n").split(delimiter) for line in lines]
    forms = [
        delimiter.join(field if field in KNOWN else text_form(field) for field in row)
        for row in (*rows[:1], *rows[-1:])
    ]
    return (
        f"{path.stat().st_size:,} bytes, begins {begins}; its first {len(lines):,} lines hold "
        f"{content.count(10):,} line feeds, {content.count(13):,} carriage returns and "
        f"{content.count(34):,} quotes; fields by {delimiter!r} → lines: "
        f"{dict(Counter(map(len, rows)).most_common(5))}; first and last: {forms}"
    )

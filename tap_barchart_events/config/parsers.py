"""How the value of each setting is read: from what a configuration may hold to a typed value.

A reader raises ``ValueError`` whose text completes the sentence "setting … must be …".
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import unicodedata
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from tap_barchart_events.products import snake_case
from tap_barchart_events.urls import is_safe
from tap_barchart_events.windows import from_iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeGuard

PRODUCTION = "https://events.aws.barchart.com"
ENVIRONMENT_PREFIX = "TAP_BARCHART_EVENTS_"

BATCH_SIZE = 50_000
"""Records in a batch file, unless ``batch_config`` says otherwise."""

DEEPEST = 50
"""How many levels of objects and lists a value may have; each costs libraries stack frames."""

NUMBERS = {"integer", "number"}
"""What JSON Schema calls numbers."""

SMALLEST_PARQUET = 2_048
"""Fewest records of a full Parquet file: DuckDB writes rows in vectors of this size."""


def converted(value: object, schema: Mapping[str, Any]) -> object:
    """Return a value in its declared type; as it is, where that is not possible.

    Numbers may be ``Decimal`` or text, all others may be JSON text, a list also text with commas.
    Empty text is none, unless the type is text.

    Args:
        value: As a configuration or the environment holds it.
        schema: JSON schema of the setting.
    """
    kinds = _kinds(schema)
    if "string" in kinds or isinstance(value, bool):
        return value
    with contextlib.suppress(OverflowError, RecursionError, TypeError, ValueError):
        if value == "":
            return None
        if kinds & NUMBERS:
            number = float(cast("float", value))
            return int(number) if number.is_integer() else number
        if isinstance(value, str):
            text = value.strip()
            if "array" in kinds and not text.startswith("["):
                return [item.strip() for item in text.split(",")]
            # No int can be read from NaN.
            return json.loads(text.lower() if "boolean" in kinds else text, parse_constant=int)
    return value


def declared(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a converted value that has its declared type, within bounds, or is none.

    Raises:
        ValueError: It has another one.
    """
    kinds = _kinds(schema)
    if value is None:
        return value
    if kinds & NUMBERS:
        return _number(value, schema)
    if "boolean" in kinds and not isinstance(value, bool):
        raise ValueError("true or false")
    if "object" in kinds and not isinstance(value, dict):
        raise ValueError("an object")
    if is_nested_too_deeply(value):
        raise ValueError(f"an object of at most {DEEPEST} levels")
    if "string" in kinds and not isinstance(value, str):
        raise ValueError("text")
    return value


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    kinds = schema["type"]
    return {kinds} if isinstance(kinds, str) else set(kinds)


def _number(value: Any, schema: Mapping[str, Any]) -> float:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    wanted = "a whole number" if "integer" in _kinds(schema) else "a number"
    wanted += f" of at least {low:,}" if low is not None else ""
    wanted += f" above {above}" if above is not None else ""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if "integer" not in _kinds(schema) and isinstance(value, float):
        is_number = math.isfinite(value)
    if not is_number or (low is not None and value < low) or (above is not None and value <= above):
        raise ValueError(wanted)
    if value > schema.get("maximum", math.inf):
        raise ValueError(f"{wanted}, at most {schema['maximum']:,}")
    return cast("float", value)


def unknown_settings(schema: Mapping[str, Any], environ: Mapping[str, str | None]) -> set[str]:
    """Return the environment variables that look like settings and are none."""
    known = {ENVIRONMENT_PREFIX + name.upper() for name in [*schema, "loglevel"]}
    # Meltano's variables beside the settings, such as __SELECT, begin with two underscores.
    ours = re.compile(ENVIRONMENT_PREFIX + "[^_]")
    return {name for name in environ if ours.match(name)} - known


def is_nested_too_deeply(value: object) -> bool:
    """Return whether JSON is nested so deeply that libraries would fail on it."""
    level: list[object] = [value]
    for _ in range(DEEPEST):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list | tuple):
                inner.extend(item)
        if not inner:
            return False
        level = inner
    return True


def password(value: object) -> str:
    """Read a password. A secret that was made with ``echo`` ends with a line break."""
    value = _without_line_breaks(value)
    if _is_text(value):
        return value
    raise ValueError("text that is not empty, in UTF-8")


def code(value: object) -> str:
    """Read a code of the service."""
    if _is_code(value):
        return value
    raise ValueError("text that is not empty, in UTF-8, without control characters")


def username(value: object) -> str:
    """Read a user name; in Basic authentication a colon ends it."""
    value = _without_line_breaks(value)
    if _is_text(value) and ":" not in value:
        return value
    raise ValueError("text that is not empty, in UTF-8, with no colon")


def _without_line_breaks(value: object) -> object:
    return value.strip("\r\n") if isinstance(value, str) else value


def _is_text(value: object) -> TypeGuard[str]:
    # Python decodes bytes of the environment that are not UTF-8 to surrogates; none can be sent.
    return (
        isinstance(value, str)
        and bool(value.strip())
        and value.encode(errors="ignore").decode() == value
    )


def _is_code(value: object) -> TypeGuard[str]:
    return _is_text(value) and not any(unicodedata.category(c) == "Cc" for c in value)


def instant(value: object) -> int:
    """Read an ISO 8601 date or date-time; return milliseconds since the epoch."""
    try:
        return from_iso(cast("str", value))
    except (AttributeError, ValueError):
        raise ValueError(
            "a date-time such as 2019-10-14T00:00:00Z (without an offset it is UTC)"
        ) from None


def _codes(value: object, wanted: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(map(_is_code, value)):
        raise ValueError(wanted)
    if len(set(value)) < len(value):
        raise ValueError(wanted)
    return tuple(value)


def products(value: object) -> tuple[str, ...]:
    """Read the product codes."""
    wanted = (
        "a list of different product codes without control characters, at least one, "
        'such as ["WATCHLIST"]'
    )
    items = _codes(value, wanted)
    if not items:
        raise ValueError(wanted)
    return items


def event_types(value: object) -> tuple[str, ...]:
    """Read the event type codes; none means all."""
    wanted = (
        "a list of different event type codes without control characters, "
        'such as ["WATCHLIST-CREATED"]'
    )
    return _codes(value or [], wanted)


def columns(value: object) -> dict[str, tuple[str, ...]]:
    """Read the column names of the products' files."""
    wanted = (
        "an object from product to all column names of its files, in order, all different, each "
        "with a letter or digit, timestamp and type among them, "
        'such as {"WATCHLIST": ["timestamp", "type", "userId"]}'
    )
    value = value or {}
    if not isinstance(value, dict) or not all(map(_is_text, value)):
        raise ValueError(wanted)
    columns = {product: _codes(names, wanted) for product, names in value.items()}
    for names in columns.values():
        plain = [snake_case(name) for name in names]
        complete = {"timestamp", "type"} <= set(plain) and "" not in plain
        if len(set(plain)) < len(plain) or not complete:
            raise ValueError(wanted)
    return columns


def delimiter(value: object) -> str:
    """Read the one character that separates fields."""
    return _character(value, "no letter, digit, line end, NUL, hyphen or backslash")


def quote_character(value: object) -> str:
    """Read the one character that quotes fields, or none."""
    if value == "":
        return ""
    wanted = "or empty, no letter, digit, white space, control character, hyphen or backslash"
    quote = _character(value, wanted)
    # DuckDB ignores white space around a quote, so white space cannot be the quote.
    if quote == " " or not quote.isprintable():
        raise ValueError(f"one ASCII character {wanted}")
    return quote


def _character(value: object, wanted: str) -> str:
    if not isinstance(value, str) or len(value) != 1 or not value.isascii():
        raise ValueError(f"one ASCII character {wanted}")
    if value.isalnum() or value in "\r\n\0-\\":
        raise ValueError(f"one ASCII character {wanted}")
    return value


def api_url(value: object) -> str:
    """Read the base URL of the service; return it without a slash at its end."""
    wanted = (
        f"a URL such as {PRODUCTION}: https (http for a loopback host only), no credentials, "
        "no white space"
    )
    url = str(value).strip()
    # This check comes first, because urlsplit drops line ends and tabs silently.
    if not url.isprintable() or " " in url or not is_safe(url):
        raise ValueError(wanted)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.port == 0 or parts.query or parts.fragment:
        raise ValueError(wanted)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def layout_check(value: object) -> str:
    """Read what follows from a contradicted layout."""
    if value not in ("error", "warning"):
        raise ValueError('"error" or "warning"')
    return str(value)


def batch_config(value: object) -> dict[str, Any] | None:
    """Read where and how batch files are written, with a size added; None if it is not set.

    It is a setting of the SDK. A storage may have credentials, so no error shows a part of it.
    """
    if not value:
        return None
    wanted = (
        'an object such as {"encoding": {"format": "jsonl", "compression": "gzip"}, '
        '"storage": {"root": "file:///var/tmp/events"}}'
    )
    config = _keys(value, wanted, "", ("encoding", "storage", "batch_size"))
    encoding = _keys(config.get("encoding"), wanted, "encoding", ("format", "compression"))
    storage = _keys(config.get("storage"), wanted, "storage", ("root", "prefix", "params"))
    parquet = encoding.get("format") == "parquet"
    if not parquet and encoding.get("format") != "jsonl":
        raise ValueError("an object whose encoding has the format jsonl or parquet")
    if encoding.get("compression", "none") not in ("gzip", "none"):
        raise ValueError("an object whose encoding has the compression gzip or none")
    if not _is_text(storage.get("root")):
        raise ValueError("an object whose storage has a root, such as file:///var/tmp/events")
    if not _is_plain(storage["root"]):
        raise ValueError(
            "an object whose storage has a root without %, ?, # and control characters, because "
            "targets read URLs with these in different ways"
        )
    prefix = storage.get("prefix", "")
    if prefix != "" and not _is_text(prefix):
        raise ValueError("an object whose storage has a prefix that is text, or none")
    if "/" in prefix or not _is_plain(prefix):
        raise ValueError(
            "an object whose storage has a prefix without /, %, ?, # and control characters; "
            "folders belong to the root"
        )
    if not isinstance(storage.get("params", {}), dict):
        raise ValueError("an object whose storage has params that are an object, or none")
    schema = {"type": ["integer"], "minimum": SMALLEST_PARQUET if parquet else 1}
    try:
        size = declared(converted(config.get("batch_size", BATCH_SIZE), schema), schema)
    except ValueError as error:
        which = " for Parquet" if parquet else ""
        raise ValueError(f"an object whose batch_size is {error}{which}") from None
    return {"encoding": encoding, "storage": storage, "batch_size": size}


def _is_plain(name: str) -> bool:
    return not any(c in "%?#" or unicodedata.category(c) == "Cc" for c in name)


def _keys(value: object, wanted: str, where: str, known: Sequence[str]) -> dict[str, Any]:
    """Return an object without its nulls: a null counts as left out."""
    if not isinstance(value, dict) or is_nested_too_deeply(value):
        raise ValueError(wanted)
    if not value.keys() <= set(known):
        whose = f"whose {where} has" if where else "with"
        raise ValueError(f"an object {whose} no keys but {', '.join(known)}")
    return {key: item for key, item in value.items() if item is not None}

"""How the value of each setting is read: from what a configuration may hold to a typed value.

Numbers may be ``Decimal`` or text, lists and objects may be JSON text. A reader raises
``ValueError`` whose text completes the sentence "setting … must be …".
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
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeGuard

PRODUCTION = "https://events.aws.barchart.com"
ENVIRONMENT_PREFIX = "TAP_BARCHART_EVENTS_"

BATCH_SIZE = 50_000
"""Records in a batch file, unless ``batch_config`` says otherwise."""

LARGEST = 1_000_000_000
"""Largest number that a setting accepts: over 30 years in seconds."""

DEEPEST = 50
"""How many levels of objects and lists a value may have; each costs libraries stack frames."""

SMALLEST_PARQUET = 2_048
"""Fewest records of a full Parquet file: DuckDB writes rows in vectors of this size."""


def from_environment(
    schema: Mapping[str, Any], environ: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the settings found in environment variables, ``TAP_BARCHART_EVENTS_<NAME>``.

    Args:
        schema: Name → JSON schema of all settings, the SDK's own included. A boolean, object or
            integer is read as JSON; the rest is left to a setting's reader.
        environ: The environment.
    """
    config: dict[str, Any] = {}
    for name, kind in schema.items():
        value = environ.get(ENVIRONMENT_PREFIX + name.upper())
        if value is None:
            continue
        config[name] = value
        if {"boolean", "object", "integer"} & set(kind.get("type", ())):
            with contextlib.suppress(RecursionError, ValueError):
                plain = value.lower()
                config[name] = json.loads(plain if plain in {"true", "false"} else value)
    return config


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


def number(
    *,
    exclusive_minimum: float | None = None,
    minimum: float | None = None,
    maximum: float = LARGEST,
    whole: bool = False,
) -> Callable[[Any], float]:
    """Return the reader of a number within bounds; whole ones come as integers."""
    above = exclusive_minimum
    bounds = f" above {above}" if above is not None else f" of at least {minimum:,}"
    wanted = ("a whole number" if whole else "a number") + bounds

    def read(value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        low = (above is not None and number <= above) or (minimum is not None and number < minimum)
        if not math.isfinite(number) or low or (whole and number != int(number)):
            raise ValueError(wanted)
        if number > maximum:
            raise ValueError(f"{wanted}, at most {maximum:,}")
        return int(number) if number == int(number) else number

    return read


def instant(value: object) -> int:
    """Read an ISO 8601 date or date-time; return milliseconds since the epoch."""
    try:
        return from_iso(cast("str", value))
    except (AttributeError, ValueError):
        raise ValueError(
            "a date-time such as 2019-10-14T00:00:00Z (without an offset it is UTC)"
        ) from None


def _list(value: object, wanted: str) -> tuple[str, ...]:
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = [item.strip() for item in value.split(",")]
    items = _json(value, wanted)
    if not isinstance(items, list | tuple):
        raise ValueError(wanted)
    if not all(map(_is_code, items)) or len(set(items)) < len(items):
        raise ValueError(wanted)
    return tuple(items)


def _json(value: object, wanted: str) -> object:
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except (RecursionError, ValueError):
        raise ValueError(wanted) from None
    if is_nested_too_deeply(value):
        raise ValueError(wanted)
    return value


def products(value: object) -> tuple[str, ...]:
    """Read the product codes."""
    wanted = (
        "a list of different product codes without control characters, at least one, "
        'such as ["WATCHLIST"]'
    )
    items = _list(value, wanted)
    if not items:
        raise ValueError(wanted)
    return items


def event_types(value: object) -> tuple[str, ...]:
    """Read the event type codes; none means all."""
    wanted = (
        "a list of different event type codes without control characters, "
        'such as ["WATCHLIST-CREATED"]'
    )
    return _list(value or [], wanted)


def columns(value: object) -> dict[str, tuple[str, ...]]:
    """Read the column names of the products' files."""
    wanted = (
        "an object from product to all column names of its files, in order, all different, each "
        "with a letter or digit, timestamp and type among them, "
        'such as {"WATCHLIST": ["timestamp", "type", "userId"]}'
    )
    value = _json(value or {}, wanted)
    if not isinstance(value, dict) or not all(map(_is_text, value)):
        raise ValueError(wanted)
    columns = {product: _list(names, wanted) for product, names in value.items()}
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
    config = _keys(_json(value, wanted), wanted, "", ("encoding", "storage", "batch_size"))
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
    read = number(minimum=SMALLEST_PARQUET if parquet else 1, whole=True)
    try:
        size = read(config.get("batch_size", BATCH_SIZE))
    except ValueError as error:
        which = " for Parquet" if parquet else ""
        raise ValueError(f"an object whose batch_size is {error}{which}") from None
    return {"encoding": encoding, "storage": storage, "batch_size": size}


def _is_plain(name: str) -> bool:
    return not any(c in "%?#" or unicodedata.category(c) == "Cc" for c in name)


def _keys(value: object, wanted: str, where: str, known: Sequence[str]) -> dict[str, Any]:
    """Return an object without its nulls: a null counts as left out."""
    if not isinstance(value, dict):
        raise ValueError(wanted)
    if not value.keys() <= set(known):
        whose = f"whose {where} has" if where else "with"
        raise ValueError(f"an object {whose} no keys but {', '.join(known)}")
    return {key: item for key, item in value.items() if item is not None}

"""How the value of each setting is read: from what a configuration may hold to a typed value.

Numbers may be ``Decimal`` or text, lists and objects may be JSON text. A reader raises
``ValueError`` whose text completes the sentence "setting … must be …".
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from tap_barchart_events.download import is_safe
from tap_barchart_events.products import snake_case
from tap_barchart_events.windows import from_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PRODUCTION = "https://events.aws.barchart.com"
ENVIRONMENT_PREFIX = "TAP_BARCHART_EVENTS_"


def from_environment(
    schema: Mapping[str, Any], environ: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the settings found in environment variables, ``TAP_BARCHART_EVENTS_<NAME>``.

    Args:
        schema: Name → JSON schema of all settings, the SDK's own included. Text of what is
            neither text nor number is read as JSON; the rest is left to a setting's reader.
        environ: The environment.
    """
    config: dict[str, Any] = {}
    for name, kind in schema.items():
        value = environ.get(ENVIRONMENT_PREFIX + name.upper())
        if value is None:
            continue
        config[name] = value
        if {"boolean", "object", "integer"} & set(kind.get("type", ())):
            with contextlib.suppress(json.JSONDecodeError):
                plain = value.lower()
                config[name] = json.loads(plain if plain in {"true", "false"} else value)
    return config


def text(value: object) -> str:
    """Read text that is not empty."""
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError("text that is not empty")


def number(
    *, above: float | None = None, at_least: float | None = None, whole: bool = False
) -> Callable[[Any], float]:
    """Return the reader of a number within bounds; whole ones come as integers."""
    bounds = f" above {above}" if above is not None else f" of at least {at_least}"
    wanted = ("a whole number" if whole else "a number") + bounds

    def read(value: Any) -> float:  # noqa: ANN401 - whatever a configuration may hold
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        low = (above is not None and number <= above) or (
            at_least is not None and number < at_least
        )
        if not math.isfinite(number) or low or (whole and number != int(number)):
            raise ValueError(wanted)
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
        raise ValueError(wanted)  # noqa: TRY004 - every refusal of a value is a ValueError
    if not all(isinstance(v, str) and v.strip() for v in items) or len(set(items)) < len(items):
        raise ValueError(wanted)
    return tuple(items)


def _json(value: object, wanted: str) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        raise ValueError(wanted) from None


def products(value: object) -> tuple[str, ...]:
    """Read the product codes."""
    wanted = 'a list of product codes, at least one, none twice, such as ["WATCHLIST"]'
    items = _list(value, wanted)
    if not items:
        raise ValueError(wanted)
    return items


def event_types(value: object) -> tuple[str, ...]:
    """Read the event type codes; none means all."""
    return _list(
        value or [], 'a list of event type codes, none twice, such as ["WATCHLIST-CREATED"]'
    )


def columns(value: object) -> dict[str, tuple[str, ...]]:
    """Read the column names of the products' files."""
    wanted = (
        "an object from product to all column names of its files, in order, none twice, "
        'such as {"WATCHLIST": ["timestamp", "type", "userId"]}'
    )
    value = _json(value or {}, wanted)
    if not isinstance(value, dict):
        raise ValueError(wanted)  # noqa: TRY004 - every refusal of a value is a ValueError
    columns = {product: _list(names, wanted) for product, names in value.items()}
    for names in columns.values():
        plain = [snake_case(name) for name in names]
        if len(set(plain)) < len(plain) or not {"timestamp", "type"} <= set(plain):
            raise ValueError(wanted)
    return columns


def character(value: object, *, or_empty: bool) -> str:
    """Read one character that can separate or quote fields."""
    wanted = (
        "one ASCII character"
        + (" or empty" if or_empty else "")
        + (", no letter, digit, line end, hyphen or backslash")
    )
    if not isinstance(value, str) or len(value) > 1 or not (value or or_empty):
        raise ValueError(wanted)
    if value and (value.isalnum() or value in "\r\n\0-\\" or not value.isascii()):
        raise ValueError(wanted)
    return value


def api_url(value: object) -> str:
    """Read the base URL of the service; return it without a slash at its end."""
    wanted = f"a URL such as {PRODUCTION}: https (http for a loopback host only), no credentials"
    url = str(value).strip()
    if not is_safe(url):
        raise ValueError(wanted)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(wanted)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def layout_check(value: object) -> str:
    """Read what a contradicted layout leads to."""
    if value not in {"error", "warning"}:
        raise ValueError('"error" or "warning"')
    return str(value)

"""The settings: names, types, bounds and meaning, and the check of a configuration.

Values come from JSON files, Meltano and environment variables, so a number may be a ``Decimal``
or text. They are converted once, here.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.plugin_base import JSONSchemaValidator

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import EVENT_TYPES, PRODUCTS, plain, snake_case
from tap_barchart_events.urls import is_safe
from tap_barchart_events.windows import HOUR, MINUTE, SECOND, from_iso, to_iso

PREFIX = "TAP_BARCHART_EVENTS_"
"""What the environment variables of settings begin with."""

PRODUCTION = "https://events.aws.barchart.com"
STAGING = "https://events-stage.aws.barchart.com"

MAX_NUMBER = 1_000_000_000
"""Largest number that a setting accepts: over 30 years in seconds."""

MIN_PARQUET_ROWS = 2_048
"""Fewest records of a full Parquet file: DuckDB writes rows in vectors of this size."""

_TEXTS = {
    "username": "User name: User name for HTTP Basic authentication; Barchart issues it.",
    "password": "Password: Password for HTTP Basic authentication; Barchart issues it.",
    "customer": "Customer: Customer code, such as TGAM.",
    "products": "Products: Product codes, such as WATCHLIST; at least one. Each is a partition of "
    "the stream with a bookmark of its own.",
    "event_types": "Event types: Event type codes to extract, such as WATCHLIST-CREATED. All types "
    "by default.",
    "start_date": "Start date: First instant to extract (ISO 8601, UTC if it has no offset).",
    "end_date": "End date: Exclusive end of the range to extract (ISO 8601). No end by default.",
    "window_hours": "Window size: Largest window of one export, in hours. The tap chooses the size "
    "of each window.",
    "min_window_seconds": "Smallest window: Smallest window, in seconds. The tap splits a window "
    "that is too large for one export, but not one of this size or smaller.",
    "lookback_hours": "Lookback: How many hours before the bookmark each sync exports again, for "
    "events that arrived late. Set it to 0 for targets that append.",
    "lag_minutes": "Lag: How many minutes before now the range of each sync ends, so that its "
    "windows are complete.",
    "max_concurrent_jobs": "Concurrent jobs: Largest number of export jobs in flight, over all "
    "products.",
    "job_timeout_minutes": "Job timeout: Minutes after which a running job counts as too large. "
    "Its window is then split.",
    "poll_interval_seconds": "Poll interval: Longest pause before the first poll of a job, in "
    "seconds, while no job times are known. Later pauses grow, to 15 times this.",
    "request_timeout_seconds": "Request timeout: Timeout of each connection attempt and read, in "
    "seconds.",
    "max_retries": "Retries: How often a failed call is retried, within a total time limit.",
    "delimiter": "Delimiter: Field separator, one character; sent to the service unless it is |.",
    "quote_character": "Quote character: Quote character of the export files. If it is empty, "
    "quotes are data.",
    "columns": "Columns: Maps a product code to the column names of its files, in order. It "
    "applies to files without a usable header, instead of the known layouts.",
    "layout_check": "Layout check: What to do if event types contradict the layout of a file "
    "without a header: fail the window (error) or continue (warning).",
    "api_url": f"API URL: Base URL of the service, https. Staging is {STAGING}.",
}
"""Title and description of each of the tap's own settings."""


def _setting(name: str, kind: Any, **more: Any) -> th.Property[Any]:
    title, _, description = _TEXTS[name].partition(": ")
    return th.Property(name, kind, title=title, description=description, **more)


_ABOVE_0 = th.NumberType(exclusive_minimum=0, maximum=MAX_NUMBER)
_FROM_0 = th.NumberType(minimum=0, maximum=MAX_NUMBER)
_TO_A_DAY = th.NumberType(exclusive_minimum=0, maximum=86_400)
_CODES = th.ArrayType(th.StringType(min_length=1))

CONFIG_JSONSCHEMA: dict[str, Any] = th.PropertiesList(
    _setting("username", th.StringType, required=True, secret=True),
    _setting("password", th.StringType, required=True, secret=True),
    _setting("customer", th.StringType, required=True),
    _setting("products", _CODES, required=True),
    _setting("event_types", _CODES),
    _setting("start_date", th.DateTimeType, required=True),
    _setting("end_date", th.DateTimeType),
    _setting("window_hours", _ABOVE_0, default=744),
    _setting("min_window_seconds", _ABOVE_0, default=1),
    _setting("lookback_hours", _FROM_0, default=24),
    _setting("lag_minutes", _FROM_0, default=15),
    _setting("max_concurrent_jobs", th.IntegerType(minimum=1, maximum=MAX_NUMBER), default=4),
    _setting("job_timeout_minutes", _ABOVE_0, default=20),
    _setting("poll_interval_seconds", _ABOVE_0, default=2),
    _setting("request_timeout_seconds", _TO_A_DAY, default=60),
    _setting("max_retries", th.IntegerType(minimum=0, maximum=MAX_NUMBER), default=8),
    _setting("delimiter", th.StringType(min_length=1, max_length=1), default="|"),
    _setting("quote_character", th.StringType(max_length=1), default='"'),
    _setting("columns", th.ObjectType(additional_properties=_CODES)),
    _setting("layout_check", th.StringType, default="error", allowed_values=["error", "warning"]),
    _setting("api_url", th.StringType, default=PRODUCTION),
).to_dict()
"""JSON schema of the configuration; the next statement adds the SDK's own settings."""

Tap.append_builtin_config(CONFIG_JSONSCHEMA)

_SCHEMAS: dict[str, dict[str, Any]] = CONFIG_JSONSCHEMA["properties"]
_SCHEMAS["products"] |= {"minItems": 1, "uniqueItems": True}
_SCHEMAS["event_types"] |= {"uniqueItems": True}
_SCHEMAS["flattening_max_depth"] = _SCHEMAS["flattening_max_depth"] | {"minimum": 0}
# The SDK's check of a map's form fails on some values; its mapper checks the form as well.
_SCHEMAS["stream_maps"] = _SCHEMAS["stream_maps"] | {"properties": {}, "additionalProperties": True}

_ENCODING = th.ObjectType(
    th.Property("format", th.StringType, required=True, allowed_values=["jsonl", "parquet"]),
    th.Property("compression", th.StringType, allowed_values=["gzip", "none"]),
    additional_properties=False,
)
_STORAGE = th.ObjectType(
    th.Property("root", th.StringType, required=True),
    th.Property("prefix", th.StringType),
    th.Property("params", th.ObjectType()),
    additional_properties=False,
)
_BATCH_CONFIG = th.ObjectType(
    th.Property("encoding", _ENCODING, required=True),
    th.Property("storage", _STORAGE, required=True),
    th.Property("batch_size", th.IntegerType(minimum=1), default=50_000),
    additional_properties=False,
)
_SCHEMAS["batch_config"] = _SCHEMAS["batch_config"] | _BATCH_CONFIG.to_dict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The tap's settings, typed. A time is in milliseconds, unless its name says otherwise."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    customer: str
    products: Sequence[str]
    event_types: Sequence[str] = ()
    start_date: int
    """Inclusive, since the epoch."""
    end_date: int | None = None
    """Exclusive, since the epoch."""
    largest_window: int
    smallest_window: int
    lookback: int
    lag: int
    max_concurrent_jobs: int
    job_timeout_minutes: float
    poll_interval_seconds: float
    request_timeout_seconds: float
    max_retries: int
    delimiter: str
    quote_character: str
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    layout_check: str
    api_url: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Return the settings of a configuration that ``checked`` returned."""
        values = {
            **config,
            "start_date": from_iso(config["start_date"]),
            "end_date": from_iso(config["end_date"]) if "end_date" in config else None,
            "api_url": config["api_url"].strip().rstrip("/"),
            "largest_window": max(1, round(config["window_hours"] * HOUR)),
            "smallest_window": max(1, round(config["min_window_seconds"] * SECOND)),
            "lookback": round(config["lookback_hours"] * HOUR),
            "lag": math.ceil(config["lag_minutes"] * MINUTE),
        }
        return cls(**{name: values[name] for name in cls.__slots__ if name in values})


def checked(config: Mapping[str, Any], *, must_be_complete: bool = True) -> dict[str, Any]:
    """Return a configuration in its declared types, with defaults.

    Args:
        config: As files and the environment hold it. Null, empty text and {} count as unset.
        must_be_complete: Whether the required settings must be set; discovery needs none.

    Raises:
        SettingError: A setting is missing or cannot be used; the message names it and says which
            values are valid.
    """
    values: dict[str, Any] = _converted(config, CONFIG_JSONSCHEMA)
    _check_by_schema(values)
    for name in ("start_date", "end_date"):
        if name in values:
            try:
                values[name] = to_iso(from_iso(values[name]))
            except ValueError:
                raise _refused(name, _DATE, values[name]) from None
    missing = [name for name in CONFIG_JSONSCHEMA["required"] if name not in values]
    if missing and must_be_complete:
        variables = ", ".join(PREFIX + name.upper() for name in missing)
        raise SettingError(
            f"these settings are missing: {', '.join(missing)}; set them in the configuration or, "
            f"with --config=ENV, in the environment or a .env file, as {variables}"
        )
    if not missing:
        for name, is_right, wanted in _rules(values):
            if not is_right:
                raise _refused(name, wanted, values.get(name))
        _refuse_misspelt_codes(values)
    return values


_NOTHING: tuple[object, ...] = (None, "", {})
_MAY_BE_EMPTY = ("quote_character", "flattening_separator")


def _converted(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a value in its declared type, or unchanged if that is not possible."""
    kinds = {schema["type"]} if isinstance(schema.get("type"), str) else {*schema.get("type", ())}
    with suppress(OverflowError, RecursionError, TypeError, ValueError):
        if kinds & {"integer", "number"} and not isinstance(value, bool):
            number = float(value)
            return int(number) if number.is_integer() else number
        if kinds and "string" not in kinds and isinstance(value, str):
            text = value.strip()
            if "array" in kinds and not text.startswith("["):
                return [item.strip() for item in text.split(",")]
            value = json.loads(text.lower() if "boolean" in kinds else text)
    parts = schema.get("properties", {})
    if isinstance(value, dict):
        return {
            name: _converted(part, parts.get(name, {}))
            for name, part in value.items()
            if name not in parts or part not in _NOTHING or (part == "" and name in _MAY_BE_EMPTY)
        }
    return value


def _check_by_schema(values: dict[str, Any]) -> None:
    """Check types and bounds with the SDK's validation, which also adds the defaults."""
    for name, schema in _SCHEMAS.items():
        if not _is_json(values.get(name)):
            raise _refused(name, _wanted(schema), values[name])
    for error in JSONSchemaValidator(CONFIG_JSONSCHEMA).iter_errors(values):
        if error.path:  # all others are about missing settings
            raise _refused(".".join(map(str, error.path)), _wanted(error.schema), error.instance)


def _is_json(value: object) -> bool:
    """Return whether a value can be written as JSON in UTF-8: NaN and lone surrogates cannot."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False, default=float).encode()
    except (RecursionError, TypeError, ValueError):
        return False
    return True


_TYPES = {
    "string": "text in UTF-8",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list of text",
    "object": "an object",
}

_BOUNDS = {
    "minimum": "at least {:,}",
    "exclusiveMinimum": "above {:,}",
    "maximum": "at most {:,}",
    "minLength": "not empty",
    "maxLength": "at most {} character",
    "minItems": "not empty",
    "uniqueItems": "all different",
}


def _wanted(schema: Mapping[str, Any]) -> str:
    """Return in words which values a JSON schema allows."""
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    kind = schema.get("type", "")
    words = [_TYPES.get(kind if isinstance(kind, str) else kind[0], "as the SDK documents it")]
    words += [text.format(schema[bound]) for bound, text in _BOUNDS.items() if bound in schema]
    if "required" in schema:
        words.append(f"with {' and '.join(schema['required'])}")
    if schema.get("additionalProperties") is False:
        words.append(f"with no keys other than {', '.join(schema['properties'])}")
    return ", ".join(words)


def _refused(name: str, wanted: str, found: object) -> SettingError:
    schema = _SCHEMAS[name.partition(".")[0]]
    # Maps and storages can hold secrets, too.
    is_secret = schema.get("secret") or "object" in schema["type"] or "@" in str(found)
    shown = "" if is_secret else f", not {str(found)[:100]!r}"
    return SettingError(f"setting {name} must be {wanted}{shown}")


def _rules(values: Mapping[str, Any]) -> Iterator[tuple[str, bool, str]]:
    """Yield what the JSON schema cannot say: a setting, whether it is valid, what would be."""
    yield "username", ":" not in values["username"], "text with no colon"
    for name in ("customer", "products", "event_types"):
        value = values.get(name, [])
        codes = [value] if isinstance(value, str) else value
        is_right = all(code.strip() and code.isprintable() for code in codes)
        yield name, is_right, "text without control characters, and not blank"
    delimiter, quote = values["delimiter"], values["quote_character"]
    yield (
        "delimiter",
        delimiter.isascii() and not delimiter.isalnum() and delimiter not in "\r\n\0-\\",
        "one ASCII character other than a letter, digit, line end, NUL, hyphen or backslash",
    )
    # DuckDB ignores white space around a quote, so white space cannot be the quote.
    yield (
        "quote_character",
        quote in set(string.punctuation) - {"-", "\\"} or not quote,
        "empty or one ASCII character other than a letter, digit, white space, hyphen or backslash",
    )
    yield "quote_character", quote != delimiter, "a different character from delimiter"
    for product, names in values.get("columns", {}).items():
        columns = {snake_case(name) for name in names}
        is_right = len(columns - {""}) == len(names) and columns >= {"timestamp", "type"}
        yield f"columns.{product}", is_right, _COLUMNS
    url = values["api_url"].strip()
    yield "api_url", is_safe(url) and not set(" @?#") & set(url), _URL
    start, end = values["start_date"], values.get("end_date")
    yield "end_date", end is None or end > start, f"after start_date, {start}"
    is_right = round(values["min_window_seconds"] * SECOND) <= round(values["window_hours"] * HOUR)
    yield "min_window_seconds", is_right, "at most window_hours"
    if "batch_config" in values:
        yield from _rules_of_batches(values["batch_config"])


def _rules_of_batches(config: Mapping[str, Any]) -> Iterator[tuple[str, bool, str]]:
    root, prefix = config["storage"]["root"], config["storage"].get("prefix", "")
    unsafe = "%, ?, # or control characters, which targets interpret differently"
    is_plain = not _UNSAFE.search(root) and not root.isspace()
    yield "batch_config.storage.root", is_plain, f"a folder or URL without {unsafe}"
    is_plain = not _UNSAFE.search(prefix) and "/" not in prefix
    yield "batch_config.storage.prefix", is_plain, f"text without /, {unsafe}"
    min_rows = MIN_PARQUET_ROWS if config["encoding"]["format"] == "parquet" else 1
    is_enough = config["batch_size"] >= min_rows
    yield "batch_config.batch_size", is_enough, f"at least {min_rows:,} for Parquet"


_DATE = "a date-time such as 2019-10-14T00:00:00Z (without an offset it is UTC)"
_COLUMNS = (
    "the names of all columns of its files, in order, including timestamp and type, without "
    'duplicates, each with a letter or digit, such as ["timestamp", "type", "userId"]'
)
_URL = (
    f"an https URL such as {PRODUCTION} (http only for a loopback host), without credentials, "
    "white space, query or fragment"
)
_UNSAFE = re.compile(r"[%?#\x00-\x1f\x7f-\x9f]")


def _refuse_misspelt_codes(values: Mapping[str, Any]) -> None:
    """Refuse codes that are one letter away from a known one; the service may have further ones."""
    products = [code for code in values["products"] if code not in values.get("columns", {})]
    for name, codes, known in (
        ("products", products, PRODUCTS),
        ("event_types", values.get("event_types", []), EVENT_TYPES),
    ):
        for code in codes:
            meant = [one for one in sorted(known) if _is_letter_away(plain(code), plain(one))]
            if meant and code not in known:
                text = f"setting {name} contains {code[:100]!r}, which is not known"
                raise SettingError(f"{text}; did you mean {meant[0]}?")


def _is_letter_away(one: str, other: str) -> bool:
    """Return whether at most one letter is added, left out or replaced, or two are swapped."""
    pairs = enumerate(zip(one, other, strict=False))
    at = next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
    a, b = one[at:], other[at:]
    is_swapped = a[:2] == b[:2][::-1] and a[2:] == b[2:]
    return is_swapped or a[1:] == b[1:] or a[1:] == b or a == b[1:]


def unknown_codes(
    products: Sequence[str], event_types: Sequence[str], described: Iterable[str]
) -> Iterator[str]:
    """Yield a warning for each unknown code, which is passed on to the service.

    Args:
        products: Product codes.
        event_types: Event type codes.
        described: Products whose columns the user has set.
    """
    known = {code for name in products if name in PRODUCTS for code in PRODUCTS[name].event_types}
    unknown = [code for code in event_types if code not in known]
    if unknown:
        yield (
            "event_types that are not known for any configured product are passed on to the "
            f"service: {', '.join(unknown)}"
        )
    for code in products:
        if code not in PRODUCTS and code not in described:
            yield (
                f"product {code} is unknown and passed on to the service; its files need a header, "
                f"or an entry in the setting columns; known products are {', '.join(PRODUCTS)}"
            )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the nearest known name, or nothing."""
    names = {plain(one): one for one in sorted(known)}
    near = difflib.get_close_matches(plain(name), names, 1, 0.7)
    return f"; did you mean {names[near[0]]}?" if near else ""

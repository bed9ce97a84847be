"""The settings: their names, meaning and defaults, and their values coerced once, here.

Values arrive from JSON files, Meltano and environment variables, so a number may be a
``Decimal`` or a string. Past this room all is typed, in milliseconds or seconds.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from singer_sdk import typing as th

from tap_barchart_events.download import is_safe
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import PRODUCTS, snake_case
from tap_barchart_events.windows import from_iso, to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

PRODUCTION = "https://events.aws.barchart.com"
STAGING = "https://events-stage.aws.barchart.com"
ENVIRONMENT_PREFIX = "TAP_BARCHART_EVENTS_"

HOUR = 3_600_000
MINUTE = 60_000
SECOND = 1_000


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: what ``--about`` shows, and how its value is read."""

    name: str
    kind: th.JSONTypeHelper[Any] | type[th.JSONTypeHelper[Any]]
    read: Callable[[Any], Any]
    """From what arrived to the typed value.

    Raises ``ValueError`` whose text completes "must be …".
    """

    title: str
    description: str
    default: Any = None
    required: bool = False
    secret: bool = False
    allowed_values: Sequence[str] | None = None


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError("text that is not empty")


def _number(
    *, above: float | None = None, at_least: float | None = None, whole: bool = False
) -> Callable[[Any], float]:
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


def _instant(value: object) -> int:
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


def _products(value: object) -> tuple[str, ...]:
    wanted = 'a list of product codes, at least one, none twice, such as ["WATCHLIST"]'
    items = _list(value, wanted)
    if not items:
        raise ValueError(wanted)
    return items


def _event_types(value: object) -> tuple[str, ...]:
    return _list(
        value or [], 'a list of event type codes, none twice, such as ["WATCHLIST-CREATED"]'
    )


def _columns(value: object) -> dict[str, tuple[str, ...]]:
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


def _character(value: object, *, or_empty: bool) -> str:
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


def _api_url(value: object) -> str:
    wanted = f"a URL such as {PRODUCTION}: https (http for a loopback host only), no credentials"
    url = str(value).strip()
    if not is_safe(url):
        raise ValueError(wanted)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(wanted)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _layout_check(value: object) -> str:
    if value not in {"error", "warning"}:
        raise ValueError('"error" or "warning"')
    return str(value)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "username",
        th.StringType,
        _text,
        "User name",
        "User name for HTTP Basic authentication; Barchart hands it out.",
        required=True,
        secret=True,
    ),
    Setting(
        "password",
        th.StringType,
        _text,
        "Password",
        "Password for HTTP Basic authentication; Barchart hands it out.",
        required=True,
        secret=True,
    ),
    Setting(
        "customer",
        th.StringType,
        _text,
        "Customer",
        "Customer code, such as TGAM. Unknown codes are passed on to the service.",
        required=True,
    ),
    Setting(
        "products",
        th.ArrayType(th.StringType),
        _products,
        "Products",
        "Product codes, such as WATCHLIST; at least one, none twice. Each is a partition of "
        "the stream with a bookmark of its own.",
        required=True,
    ),
    Setting(
        "event_types",
        th.ArrayType(th.StringType),
        _event_types,
        "Event types",
        "Event type codes to extract, such as WATCHLIST-CREATED. Without it: all types.",
    ),
    Setting(
        "start_date",
        th.DateTimeType,
        _instant,
        "Start date",
        "First instant to extract (ISO 8601); without an offset it is UTC.",
        required=True,
    ),
    Setting(
        "end_date",
        th.DateTimeType,
        _instant,
        "End date",
        "Stop before this instant (ISO 8601), which must be after the start date.",
    ),
    Setting(
        "window_hours",
        th.NumberType,
        _number(above=0),
        "Window size",
        "Largest range of time that one export asks for, in hours.",
        default=24,
    ),
    Setting(
        "min_window_seconds",
        th.NumberType,
        _number(above=0),
        "Smallest window",
        "Windows too large for one export are split; below this size, in seconds, no further.",
        default=1,
    ),
    Setting(
        "lookback_hours",
        th.NumberType,
        _number(at_least=0),
        "Lookback",
        "Export this much before the bookmark again, in hours, for events that arrived late.",
        default=0,
    ),
    Setting(
        "lag_minutes",
        th.NumberType,
        _number(at_least=0),
        "Lag",
        "Never export later than now minus this, in minutes, so that a window is complete "
        "when it is read.",
        default=15,
    ),
    Setting(
        "max_concurrent_jobs",
        th.IntegerType,
        _number(at_least=1, whole=True),
        "Concurrent jobs",
        "Export jobs in flight at once, over all products.",
        default=4,
    ),
    Setting(
        "job_timeout_minutes",
        th.NumberType,
        _number(above=0),
        "Job time-out",
        "A job still running after this, in minutes, counts as too large: its window is split.",
        default=20,
    ),
    Setting(
        "poll_interval_seconds",
        th.NumberType,
        _number(above=0),
        "Poll interval",
        "First pause between polls of a job, in seconds; it grows, with jitter, to 15 times this.",
        default=2,
    ),
    Setting(
        "request_timeout_seconds",
        th.NumberType,
        _number(above=0),
        "Request time-out",
        "Time-out to connect, and for each read, in seconds.",
        default=60,
    ),
    Setting(
        "max_retries",
        th.IntegerType,
        _number(at_least=0, whole=True),
        "Retries",
        "How often one call is tried again, within a total time bound.",
        default=8,
    ),
    Setting(
        "delimiter",
        th.StringType,
        lambda value: _character(value, or_empty=False),
        "Delimiter",
        "Field separator of the export files, one character; the service is asked for it when "
        "it is not |.",
        default="|",
    ),
    Setting(
        "quote_character",
        th.StringType,
        lambda value: _character(value, or_empty=True),
        "Quote character",
        "Quote character of the export files; empty: quotes are data.",
        default='"',
    ),
    Setting(
        "columns",
        th.ObjectType(additional_properties=th.ArrayType(th.StringType)),
        _columns,
        "Columns",
        "Product to the column names of its files, in order, for when neither a header nor a "
        "known layout tells.",
    ),
    Setting(
        "layout_check",
        th.StringType,
        _layout_check,
        "Layout check",
        "What to do when event types contradict a layout that was chosen by its number of "
        "columns: fail the window (error) or go on (warning).",
        default="error",
        allowed_values=["error", "warning"],
    ),
    Setting(
        "api_url",
        th.StringType,
        _api_url,
        "API URL",
        f"Base URL of the service; staging is {STAGING}. https only; http for loopback hosts.",
        default=PRODUCTION,
    ),
)

CONFIG_JSONSCHEMA: dict[str, Any] = th.PropertiesList(
    *(
        th.Property(
            s.name,
            s.kind,
            required=s.required,
            default=s.default,
            title=s.title,
            description=s.description,
            secret=s.secret,
            allowed_values=list(s.allowed_values) if s.allowed_values else None,
        )
        for s in SETTINGS
    )
).to_dict()


def from_environment(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings found in environment variables, ``TAP_BARCHART_EVENTS_<NAME>``.

    Args:
        names: Names of all settings, the SDK's own included.
        environ: The environment.
    """
    own = {setting.name for setting in SETTINGS}
    config: dict[str, Any] = {}
    for name in names:
        value = environ.get(ENVIRONMENT_PREFIX + name.upper())
        if value is None:
            continue
        config[name] = value
        if name not in own:
            with contextlib.suppress(json.JSONDecodeError):
                plain = value.lower()
                config[name] = json.loads(plain if plain in {"true", "false"} else value)
    return config


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The tap's settings, typed. A number is in the unit that its name says."""

    username: str
    password: str = field(repr=False)
    customer: str
    products: tuple[str, ...]
    event_types: tuple[str, ...]
    start_date: int
    """Milliseconds since the epoch, inclusive."""
    end_date: int | None
    """Milliseconds since the epoch, exclusive."""
    window_hours: float
    min_window_seconds: float
    lookback_hours: float
    lag_minutes: float
    max_concurrent_jobs: int
    job_timeout_minutes: float
    poll_interval_seconds: float
    request_timeout_seconds: float
    max_retries: int
    delimiter: str
    quote_character: str
    columns: Mapping[str, Sequence[str]]
    layout_check: str
    api_url: str

    @property
    def window(self) -> int:
        """Largest window, in milliseconds."""
        return max(1, round(self.window_hours * HOUR))

    @property
    def smallest_window(self) -> int:
        """Smallest window, in milliseconds."""
        return max(1, round(self.min_window_seconds * SECOND))

    @property
    def lookback(self) -> int:
        """Lookback, in milliseconds."""
        return round(self.lookback_hours * HOUR)

    @property
    def lag(self) -> int:
        """Lag, in milliseconds, rounded up."""
        return math.ceil(self.lag_minutes * MINUTE)

    @staticmethod
    def products_in(config: Mapping[str, Any]) -> tuple[str, ...]:
        """Read the products alone; without any, all that are known: discovery needs no more.

        Raises:
            SettingError: They cannot be used.
        """
        given = config.get("products")
        setting = next(setting for setting in SETTINGS if setting.name == "products")
        return _value(setting, config) if given else tuple(PRODUCTS)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read and check all settings.

        Raises:
            SettingError: One is missing or cannot be used; the message names it and says
                what would be right.
        """
        settings = cls(**{setting.name: _value(setting, config) for setting in SETTINGS})
        if settings.end_date is not None and settings.end_date <= settings.start_date:
            raise SettingError("setting end_date must be after start_date")
        if settings.smallest_window > settings.window:
            raise SettingError("setting min_window_seconds must not exceed window_hours")
        if settings.delimiter == settings.quote_character:
            raise SettingError("setting quote_character must differ from delimiter")
        return settings

    def as_config(self) -> dict[str, Any]:
        """Return the settings in the types that the configuration's JSON schema asks for."""
        config = asdict(self)
        for name, value in config.items():
            if isinstance(value, tuple):
                config[name] = list(value)
        config["start_date"] = to_iso(self.start_date)
        config["end_date"] = None if self.end_date is None else to_iso(self.end_date)
        config["columns"] = {product: list(names) for product, names in self.columns.items()}
        return config


def _value(setting: Setting, config: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of any type
    value = config.get(setting.name)
    # An empty environment variable is no value, but an empty quote character is one.
    if value is None or (value == "" and setting.default != '"'):
        if setting.required:
            raise SettingError(
                f"setting {setting.name} is missing: {setting.description} Set it in the "
                f"configuration or as {ENVIRONMENT_PREFIX}{setting.name.upper()}"
            )
        value = setting.default
        if value is None and setting.kind is th.DateTimeType:
            return None
    try:
        return setting.read(value)
    except ValueError as error:
        wanted = str(error)
    shown = "" if setting.secret or "@" in str(value) else f", not {str(value)[:100]!r}"
    raise SettingError(f"setting {setting.name} must be {wanted}{shown}")

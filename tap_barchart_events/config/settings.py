"""The settings: their names, meaning and defaults. Their values are converted once, here.

Values come from JSON files, Meltano and environment variables, so a number may be a
``Decimal`` or a string. The typed values are in milliseconds or seconds.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from tap_barchart_events.config import parsers
from tap_barchart_events.config.codes import refuse_misspellings
from tap_barchart_events.config.declaration import (
    Setting,
    declared_settings,
    json_schema,
    number_setting,
    setting,
)
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import HOUR, to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STAGING = "https://events-stage.aws.barchart.com"

MINUTE = 60_000
SECOND = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The tap's settings, declared and typed. A number is in the unit that its name says."""

    username: str = setting(
        th.StringType,
        parsers.username,
        "User name",
        "User name for HTTP Basic authentication; Barchart issues it. Line breaks at its ends are "
        "removed.",
        required=True,
        secret=True,
    )
    password: str = setting(
        th.StringType,
        parsers.password,
        "Password",
        "Password for HTTP Basic authentication; Barchart issues it. Line breaks at its ends are "
        "removed.",
        required=True,
        secret=True,
    )
    customer: str = setting(
        th.StringType,
        parsers.code,
        "Customer",
        "Customer code, such as TGAM. Unknown codes are passed on to the service.",
        required=True,
    )
    products: tuple[str, ...] = setting(
        th.ArrayType(th.StringType),
        parsers.products,
        "Products",
        "Different product codes, such as WATCHLIST; at least one. Each is a partition of the "
        "stream with a bookmark of its own.",
        required=True,
        bounds={"minItems": 1, "uniqueItems": True},
    )
    event_types: tuple[str, ...] = setting(
        th.ArrayType(th.StringType),
        parsers.event_types,
        "Event types",
        "Event type codes to extract, such as WATCHLIST-CREATED. All types by default.",
        bounds={"uniqueItems": True},
    )
    start_date: int = setting(
        th.DateTimeType,
        parsers.instant,
        "Start date",
        "First instant to extract (ISO 8601, UTC if it has no offset).",
        required=True,
    )
    """Milliseconds since the epoch, inclusive."""
    end_date: int | None = setting(
        th.DateTimeType,
        parsers.instant,
        "End date",
        "Exclusive end of the range to extract (ISO 8601), after the start date. No end by "
        "default.",
    )
    """Milliseconds since the epoch, exclusive."""
    window_hours: float = number_setting(
        "Window size",
        "Largest window of one export, in hours. The tap chooses the size of each window.",
        default=744,
        exclusive_minimum=0,
    )
    min_window_seconds: float = number_setting(
        "Smallest window",
        "Smallest window, in seconds. The tap splits a window that is too large for one export, "
        "but no window of this size.",
        default=1,
        exclusive_minimum=0,
    )
    lookback_hours: float = number_setting(
        "Lookback",
        "Hours before the bookmark that each sync exports again, for events that arrived late. Set "
        "0 for targets that append.",
        default=24,
        minimum=0,
    )
    lag_minutes: float = number_setting(
        "Lag",
        "Minutes before now at which each sync ends, so that its windows are complete.",
        default=15,
        minimum=0,
    )
    max_concurrent_jobs: int = number_setting(
        "Concurrent jobs",
        "Largest number of export jobs in flight, over all products.",
        default=4,
        minimum=1,
        whole=True,
    )
    job_timeout_minutes: float = number_setting(
        "Job timeout",
        "Minutes after which a running job counts as too large. Its window is then split.",
        default=20,
        exclusive_minimum=0,
    )
    poll_interval_seconds: float = number_setting(
        "Poll interval",
        "Longest pause before the first poll of a job, in seconds, while no job times are known. "
        "With job times, the first poll comes when the job is expected to end. No pause exceeds 15 "
        "times this.",
        default=2,
        exclusive_minimum=0,
    )
    request_timeout_seconds: float = number_setting(
        "Request timeout",
        "Timeout of a connection attempt and of each read, in seconds.",
        default=60,
        exclusive_minimum=0,
        maximum=86_400,
    )
    max_retries: int = number_setting(
        "Retries",
        "How often a failed call is retried, within a total time limit.",
        default=8,
        minimum=0,
        whole=True,
    )
    delimiter: str = setting(
        th.StringType,
        parsers.delimiter,
        "Delimiter",
        "Field separator of the export files, one character. The tap sends it to the service if "
        "it is not |.",
        default="|",
        bounds={"minLength": 1, "maxLength": 1},
    )
    quote_character: str = setting(
        th.StringType,
        parsers.quote_character,
        "Quote character",
        "Quote character of the export files. If it is empty, quotes are data.",
        default='"',
        may_be_empty=True,
        bounds={"maxLength": 1},
    )
    columns: Mapping[str, Sequence[str]] = setting(
        th.ObjectType(additional_properties=th.ArrayType(th.StringType)),
        parsers.columns,
        "Columns",
        "Product code to the column names of its files, in order. It applies to files without a "
        "header, instead of the known layouts.",
    )
    layout_check: str = setting(
        th.StringType,
        parsers.layout_check,
        "Layout check",
        "What to do if event types contradict the layout of a file without a header: fail the "
        "window (error) or continue (warning).",
        default="error",
        allowed_values=["error", "warning"],
    )
    api_url: str = setting(
        th.StringType,
        parsers.api_url,
        "API URL",
        f"Base URL of the service. Staging is {STAGING}. The scheme is https, or http for a "
        "loopback host.",
        default=parsers.PRODUCTION,
    )
    batch_config: Mapping[str, Any] | None = field(repr=False)
    """As the SDK takes it, ``batch_size`` included; None: events come as RECORD messages."""

    @property
    def largest_window(self) -> int:
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
        """Return the products that are set, or all known ones, for discovery.

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
            SettingError: One is missing or cannot be used; the message names it and says which
                values are valid.
        """
        missing = [s for s in SETTINGS if s.required and config.get(s.name) in (None, "")]
        if missing:
            raise SettingError(_missing(missing))
        settings = cls(
            **{setting.name: _value(setting, config) for setting in SETTINGS},
            batch_config=_read(
                "batch_config", parsers.batch_config, config.get("batch_config"), secret=True
            ),
        )
        if settings.end_date is not None and settings.end_date <= settings.start_date:
            raise SettingError(
                f"setting end_date must be after start_date, {to_iso(settings.start_date)}, "
                f"not {to_iso(settings.end_date)}"
            )
        if settings.smallest_window > settings.largest_window:
            raise SettingError("setting min_window_seconds must not exceed window_hours")
        if settings.delimiter == settings.quote_character:
            raise SettingError("setting quote_character must differ from delimiter")
        refuse_misspellings(settings.products, settings.event_types, settings.columns)
        return settings

    def as_config(self) -> dict[str, Any]:
        """Return the settings in the types of the configuration's JSON schema."""
        config = asdict(self)
        for name, value in config.items():
            if isinstance(value, tuple):
                config[name] = list(value)
        config["start_date"] = to_iso(self.start_date)
        config["end_date"] = None if self.end_date is None else to_iso(self.end_date)
        config["columns"] = {product: list(names) for product, names in self.columns.items()}
        return config


SETTINGS = declared_settings(Settings)

CONFIG_JSONSCHEMA = json_schema(SETTINGS)


def _missing(missing: Sequence[Setting]) -> str:
    names = [setting.name for setting in missing]
    listed = ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]
    verb = "s {} are missing. Set them" if len(names) > 1 else " {} is missing. Set it"
    variables = ", ".join(parsers.ENVIRONMENT_PREFIX + name.upper() for name in names)
    return (
        f"setting{verb.format(listed)} in the configuration; or, with --config=ENV, in the "
        f"environment or a file .env, here or in a folder above, as {variables}"
    )


def _value(setting: Setting, config: Mapping[str, Any]) -> Any:
    value = config.get(setting.name)
    # An empty environment variable counts as unset.
    if value is None or (value == "" and not setting.may_be_empty):
        value = setting.default
        if value is None and setting.kind is th.DateTimeType:
            return None
    return _read(setting.name, setting.read, value, secret=setting.secret)


def _read(name: str, read: Callable[[Any], Any], value: object, *, secret: bool) -> Any:
    try:
        return read(value)
    except ValueError as error:
        wanted = str(error)
    found = "" if secret or "@" in str(value) else f", not {str(value)[:100]!r}"
    raise SettingError(f"setting {name} must be {wanted}{found}")

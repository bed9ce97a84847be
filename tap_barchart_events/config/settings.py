"""The settings, typed. Their values are converted once, here.

Values come from JSON files, Meltano and environment variables, so a number may be a
``Decimal`` or a string. The typed values are in milliseconds or seconds.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tap_barchart_events.config import parsers
from tap_barchart_events.config.codes import refuse_misspellings
from tap_barchart_events.config.declaration import CONFIG_JSONSCHEMA, OWN
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import HOUR, to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MINUTE = 60_000
SECOND = 1_000

_READERS: Mapping[str, Callable[[Any], Any]] = {
    "username": parsers.username,
    "password": parsers.password,
    "customer": parsers.code,
    "products": parsers.products,
    "event_types": parsers.event_types,
    "start_date": parsers.instant,
    "end_date": lambda value: None if value is None else parsers.instant(value),
    "delimiter": parsers.delimiter,
    "quote_character": parsers.quote_character,
    "columns": parsers.columns,
    "layout_check": parsers.layout_check,
    "api_url": parsers.api_url,
    "batch_config": parsers.batch_config,
}
"""How a converted value is checked, beyond its declared type and bounds.

A reader raises ``ValueError`` whose text completes "must be …".
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The tap's settings, typed. A number is in the unit that its name says."""

    username: str = field(repr=False)
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
        given: tuple[str, ...] = _own("products", config) if config.get("products") else ()
        return given or tuple(PRODUCTS)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read and check all settings.

        Raises:
            SettingError: One is missing or cannot be used; the message names it and says which
                values are valid.
        """
        missing = [n for n in CONFIG_JSONSCHEMA["required"] if config.get(n) in (None, "")]
        if missing:
            raise SettingError(_missing(missing))
        settings = cls(
            **{name: _own(name, config) for name in OWN},
            batch_config=_read("batch_config", config.get("batch_config"), {"type": ["object"]}),
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


def settings_of_the_sdk(
    config: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each setting of the SDK's own, in its declared type.

    Args:
        config: The configuration; None and empty text, where it is no text, are none.
        schemas: Name → JSON schema of all settings.

    Raises:
        SettingError: One has another type, or is out of bounds.
    """
    for name, schema in schemas.items():
        if name in config and name not in OWN and name not in _READERS:
            yield name, _read(name, config[name], schema)


def _missing(names: Sequence[str]) -> str:
    listed = ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]
    verb = "s {} are missing. Set them" if len(names) > 1 else " {} is missing. Set it"
    variables = ", ".join(parsers.ENVIRONMENT_PREFIX + name.upper() for name in names)
    return (
        f"setting{verb.format(listed)} in the configuration; or, with --config=ENV, in the "
        f"environment or a file .env, here or in a folder above, as {variables}"
    )


def _own(name: str, config: Mapping[str, Any]) -> Any:
    value = config.get(name)
    # An empty environment variable counts as unset.
    if value is None or (value == "" and name != "quote_character"):
        value = OWN[name].get("default")
    return _read(name, value, OWN[name])


def _read(name: str, given: object, schema: Mapping[str, Any]) -> Any:
    value = parsers.converted(given, schema)
    try:
        return _READERS[name](value) if name in _READERS else parsers.declared(value, schema)
    except ValueError as error:
        wanted = str(error)
    # Maps and storages can hold secrets as well.
    is_secret = schema.get("secret") or (name not in OWN and "object" in schema["type"])
    found = "" if is_secret or "@" in str(given) else f", not {str(given)[:100]!r}"
    raise SettingError(f"setting {name} must be {wanted}{found}")

"""How a setting is declared: once, as a field of ``Settings``; its JSON schema follows."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from tap_barchart_events.config import parsers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: what ``--about`` shows, and how its value is read."""

    kind: th.JSONTypeHelper[Any] | type[th.JSONTypeHelper[Any]]
    read: Callable[[Any], Any]
    """Converts the given value to the typed one.

    Raises ``ValueError`` whose text completes "must be …".
    """

    title: str
    description: str
    bounds: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of JSON Schema."""

    name: str = ""
    default: Any = None
    required: bool = False
    secret: bool = False
    allowed_values: Sequence[str] | None = None

    may_be_empty: bool = False
    """Whether empty text is a value; otherwise it counts as unset."""


def setting(*args: Any, **more: Any) -> Any:
    """Declare a field of ``Settings``, which gives name and type, as a setting."""
    declared = Setting(*args, **more)
    return field(metadata={"setting": declared}, repr=not declared.secret)


def number_setting(
    title: str, description: str, *, whole: bool = False, default: float, **bounds: float
) -> Any:
    """Declare a setting that is a number within bounds, named as JSON Schema names them."""
    bounds = {"maximum": parsers.LARGEST, **bounds}
    keywords = {"exclusive_minimum": "exclusiveMinimum"}
    return setting(
        th.IntegerType if whole else th.NumberType,
        parsers.number(whole=whole, **bounds),
        title,
        description,
        default=default,
        bounds={keywords.get(name, name): value for name, value in bounds.items()},
    )


def declared_settings(cls: Any) -> tuple[Setting, ...]:
    """Return the settings that a dataclass declares, each with its name."""
    return tuple(replace(f.metadata["setting"], name=f.name) for f in fields(cls) if f.metadata)


def json_schema(settings: Sequence[Setting]) -> dict[str, Any]:
    """Return the JSON schema of settings, bounds included."""
    schema: dict[str, Any] = th.PropertiesList(
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
            for s in settings
        )
    ).to_dict()
    for s in settings:
        schema["properties"][s.name] |= s.bounds
    return schema

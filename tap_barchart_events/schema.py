"""The schema of the stream, in an order that never changes, and the check of a catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th
from singer_sdk.singerlib import Catalog

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import PRODUCTS, RESERVED, columns_of, products_with_column

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

STREAM = "events"

KEY: tuple[str, ...] = ("event_id",)

REPLICATION_KEY = "end"

NULLS = (None, "__NULL__")
"""What removes a property, or a stream, in a stream map."""


def schema(products: Sequence[str]) -> dict[str, Any]:
    """Return the schema of the stream for the products configured."""
    types = [code for name, p in PRODUCTS.items() if name in products for code in p.event_types]
    known = f" Known for the products configured: {', '.join(types)}." if types else ""
    made: dict[str, Any] = th.PropertiesList(
        th.Property(
            "event_id",
            th.StringType,
            required=True,
            description=(
                "32 hex digits: a hash over the values of the event and its ordinal among equal "
                "events. The same in every run."
            ),
        ),
        th.Property("customer", th.StringType, required=True, description="Customer code."),
        th.Property("product", th.StringType, required=True, description="Product code."),
        th.Property(
            "timestamp",
            th.DateTimeType,
            required=True,
            description="When the event occurred, UTC, in milliseconds.",
        ),
        th.Property("type", th.StringType, description=f"Event type code.{known}"),
        *(_column(name, products) for name in columns_of(products)),
        th.Property(
            "extra",
            th.ObjectType(additional_properties=th.StringType),
            description="Values of the columns that this schema does not have, by name.",
        ),
        th.Property(
            "end",
            th.DateTimeType,
            required=True,
            description=(
                "Exclusive end of the export window of the event, UTC. The replication key."
            ),
        ),
    ).to_dict()
    # With an empty list of properties, the SDK's flattening would leave "extra" out.
    del made["properties"]["extra"]["properties"]
    return made


def _column(name: str, products: Sequence[str]) -> th.Property[str]:
    filled_by = ", ".join(products_with_column(name, products))
    text = f"Text as in the export file; filled by {filled_by}."
    return th.Property(name, th.StringType, description=text)


def columns_with_property(
    products: Sequence[str],
    effective: Mapping[str, Any],
    metadata: Container[tuple[str, ...]],
    stream_maps: object,
) -> list[str]:
    """Return the columns that have a property, or none on purpose: all others go to ``extra``.

    A column that a catalog does not list goes to ``extra``. A column that was removed from its
    schema, but not from its metadata, is left out of the records, and so is one that a stream map
    removes. A property that a catalog adds is for a column of the file.

    Args:
        products: The products configured.
        effective: The schema with what a catalog has changed.
        metadata: The breadcrumbs of the catalog.
        stream_maps: The setting.
    """
    named = effective["properties"]
    known = columns_of(products)
    added = [name for name in named if name not in known and name not in RESERVED]
    kept = [c for c in known if c in named or ("properties", c) in metadata] + added
    return kept + sorted(_removed_names(stream_maps) - {*kept})


def _removed_names(maps: object) -> set[str]:
    """Return the names that a map removes; no value of such a column belongs in ``extra``."""
    entries = maps.values() if isinstance(maps, dict) else ()
    return {
        name
        for stream_map in entries
        if isinstance(stream_map, dict)
        for name, expression in stream_map.items()
        if expression in NULLS and not name.startswith("__")
    }


def checked_catalog(catalog: Mapping[str, Any]) -> dict[str, Any]:
    """Return a catalog that the stream can use, with the key added if it has none.

    Raises:
        SettingError: It differs in form from what --discover writes.
    """
    try:
        entry = _usable(next((e for e in catalog["streams"] if e["tap_stream_id"] == STREAM), None))
        Catalog.from_dict({"streams": [entry]})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _not_usable("is not in the form that --discover writes") from None
    return {**catalog, "streams": [entry]}


def _usable(entry: dict[str, Any] | None) -> dict[str, Any]:
    """Return the entry of the stream with its key, and with booleans for their text."""
    if entry is None or entry.get("stream", STREAM) != STREAM:
        raise _not_usable(f"has no stream whose tap_stream_id and name are {STREAM!r}")
    properties = entry["schema"]["properties"]
    missing = [name for name in (*KEY, REPLICATION_KEY) if name not in properties]
    if missing:
        raise _not_usable(f"has a schema without {', '.join(missing)}, which each record needs")
    keys = entry.get("key_properties") or [*KEY]
    if not set(KEY) <= set(keys) <= set(properties):
        raise _not_usable(
            f"has key_properties without {', '.join(KEY)}, so a target would merge different "
            "events, or some that are not in its schema"
        )
    if properties.get("extra", {}).get("properties") == {}:  # of an earlier version
        del properties["extra"]["properties"]
    methods = [entry.get("replication_method")]
    for item in entry.get("metadata", []):
        _read_selection(item["metadata"], ["the stream", *item["breadcrumb"]][-1])
        methods.append(item["metadata"].get("forced-replication-method"))
    for method in methods:
        if method not in (None, "INCREMENTAL", "FULL_TABLE"):
            raise _not_usable(
                f"has the replication method {str(method)[:100]!r}, which is neither INCREMENTAL "
                "nor FULL_TABLE"
            )
    return {**entry, "key_properties": keys}


def _read_selection(metadata: dict[str, Any], of: str) -> None:
    """Read the text of a boolean, as Meltano writes it: the SDK takes any text for true."""
    for key in {"selected", "selected-by-default"} & set(metadata):
        value = metadata[key]
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.strip().lower(), value)
        if value is not None and not isinstance(value, bool):
            raise _not_usable(
                f"has {value!r:.100} as {key} of {of:.100}, which is neither true nor false"
            )
        metadata[key] = value


def _not_usable(why: str) -> SettingError:
    return SettingError(
        f"the catalog {why}; make a new one with --discover, or, if the extra metadata of Meltano "
        "sets this, correct it there"
    )

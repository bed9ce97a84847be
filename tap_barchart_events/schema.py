"""The schema of the stream, in an order that never changes, and the check of a catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import PRODUCTS, RESERVED, columns_of, products_with_column

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

STREAM = "events"

KEY: tuple[str, ...] = ("event_id",)

REPLICATION_KEY = "end"


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
    products: Sequence[str], effective: Mapping[str, Any], metadata: Container[tuple[str, ...]]
) -> list[str]:
    """Return the columns that have a property: values of all others go to ``extra``.

    A column that a catalog does not list goes to ``extra``. A column that was removed from its
    schema, but not from its metadata, is left out of the records. A property that a catalog adds
    is for a column of the file.

    Args:
        products: The products configured.
        effective: The schema with what a catalog has changed.
        metadata: The breadcrumbs of the catalog.
    """
    named = effective["properties"]
    known = columns_of(products)
    added = [name for name in named if name not in known and name not in RESERVED]
    return [c for c in known if c in named or ("properties", c) in metadata] + added


def checked_catalog(catalog: Mapping[str, Any]) -> dict[str, Any]:
    """Return a catalog that the stream can use, with the key added if it has none.

    Raises:
        SettingError: It differs in form from what --discover writes.
    """
    streams = catalog.get("streams")
    entries = [e for e in streams if isinstance(e, dict)] if isinstance(streams, list) else []
    entry = next((e for e in entries if e.get("tap_stream_id") == STREAM), None)
    if entry is None or len(entries) != len(streams or ()):
        raise _not_usable(f"has no stream with the tap_stream_id {STREAM!r}")
    if any(not isinstance(e.get("tap_stream_id"), str) for e in entries):
        raise _not_usable("has a stream without tap_stream_id")
    name = entry.get("stream", STREAM)
    if name != STREAM:
        raise _not_usable(
            f"names the stream {str(name)[:100]!r}, but the name must be {STREAM!r}; a stream map "
            "with __alias__ can rename it"
        )
    _check_schema(entry)
    _check_metadata(entry)
    keys = entry.get("key_properties") or list(KEY)
    kept = [{**entry, "key_properties": keys}]
    return {**catalog, "streams": kept}


def _check_schema(entry: Mapping[str, Any]) -> None:
    schema = entry.get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not all(
        isinstance(v, dict) for v in properties.values()
    ):
        raise _not_usable("has no schema with properties for the stream")
    missing = [name for name in (*KEY, REPLICATION_KEY) if name not in properties]
    if missing:
        raise _not_usable(f"has a schema without {', '.join(missing)}, which each record needs")
    keys = entry.get("key_properties")
    if keys is not None and not (
        isinstance(keys, list | tuple) and all(isinstance(k, str) and k in properties for k in keys)
    ):
        raise _not_usable("has key_properties that are not in its schema")
    if keys and not set(KEY) <= set(keys):
        raise _not_usable(
            f"has key_properties without {', '.join(KEY)}, so a target would merge different events"
        )
    if not properties.get("extra", {}).get("properties", True):
        del properties["extra"]["properties"]


def _check_metadata(entry: Mapping[str, Any]) -> None:
    metadata = entry.get("metadata", [])
    if not isinstance(metadata, list) or not all(
        isinstance(m, dict)
        and isinstance(m.get("breadcrumb"), list | tuple)
        and isinstance(m.get("metadata"), dict)
        for m in metadata
    ):
        raise _not_usable("has metadata that is not a list of breadcrumbs with their metadata")
    for m in metadata:
        _read_selection(
            m["metadata"], str(m["breadcrumb"][-1] if m["breadcrumb"] else "the stream")
        )
    named = [m["metadata"].get("forced-replication-method") for m in metadata]
    for method in [entry.get("replication_method"), *named]:
        if method not in (None, "INCREMENTAL", "FULL_TABLE"):
            raise _not_usable(
                f"has the replication method {str(method)[:100]!r}, which is neither INCREMENTAL "
                "nor FULL_TABLE"
            )


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

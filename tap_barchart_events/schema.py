"""The schema of the stream, and the checks of what changes it: a catalog and stream maps.

The order of the properties never changes.
"""

from collections.abc import Collection, Container, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

from singer_sdk import typing as th
from singer_sdk.singerlib import Catalog

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import PRODUCTS, RESERVED, columns_of, plain
from tap_barchart_events.settings import did_you_mean

STREAM = "events"

KEY = "event_id"

REPLICATION_KEY = "end"

NULLS = (None, "__NULL__")
"""What removes a property, or a stream, in a stream map."""

ELSE, SOURCE, ALIAS = "__else__", "__source__", "__alias__"

MISSHAPEN = (
    "setting stream_maps contains a value that is not in the form the SDK documents; set __else__ "
    'to null or "__NULL__", and everything else to an expression'
)

SELECTION = {"true": True, "false": False}
"""What the text of ``selected`` means: Meltano writes text, and the SDK reads any text as true."""


def schema(products: Sequence[str]) -> dict[str, Any]:
    """Return the schema of the stream for the products configured."""
    known = {code: product for code, product in PRODUCTS.items() if code in products}
    types = ", ".join(code for product in known.values() for code in product.event_types)
    columns = {
        name: "Text as in the export file; filled by "
        + ", ".join(code for code, product in known.items() if name in product.columns)
        + "."
        for name in columns_of(products)
    }
    of_key = "Hash over the event's values and its ordinal among equal events; the same in any run."
    of_type = f"Event type code. Known for the products configured: {types or 'none'}."
    of_extra = "Values of the columns that this schema does not have, by name."
    of_end = "Exclusive end of the export window of the event, UTC. The replication key."
    instant = "When the event occurred, UTC, in milliseconds."
    others = {"type": ["object", "null"], "additionalProperties": {"type": ["string"]}}
    return th.PropertiesList(
        th.Property(KEY, th.StringType, required=True, description=of_key),
        th.Property("customer", th.StringType, required=True, description="Customer code."),
        th.Property("product", th.StringType, required=True, description="Product code."),
        th.Property("timestamp", th.DateTimeType, required=True, description=instant),
        th.Property("type", th.StringType, description=of_type),
        *(th.Property(name, th.StringType, description=text) for name, text in columns.items()),
        th.Property("extra", th.CustomType(others), description=of_extra),
        th.Property(REPLICATION_KEY, th.DateTimeType, required=True, description=of_end),
    ).to_dict()


def columns_with_property(
    products: Sequence[str],
    named: Collection[str],
    metadata: Container[tuple[str, ...]],
    stream_maps: Mapping[str, Any] | None,
) -> list[str]:
    """Return the columns that have a property, or deliberately none: all others go to ``extra``.

    A column that a catalog does not list goes to ``extra``. A column that was removed from its
    schema, but not from its metadata, is left out of the records, and so is one that a stream map
    removes. A property that a catalog adds is for a column of the file.

    Args:
        products: The products configured.
        named: The properties of the schema, as a catalog changed them.
        metadata: The breadcrumbs of the catalog.
        stream_maps: The setting.
    """
    known = columns_of(products)
    kept = [name for name in known if name in named or ("properties", name) in metadata]
    kept += [name for name in named if name not in known and name not in RESERVED]
    removed = {
        name
        for stream_map in (stream_maps or {}).values()
        if isinstance(stream_map, dict)
        for name, expression in stream_map.items()
        if expression in NULLS and not name.startswith("__")
    }
    return kept + sorted(removed - {*kept})


def checked_catalog(catalog: Mapping[str, Any]) -> dict[str, Any]:
    """Return a catalog that the stream can use: with its keys, and booleans instead of text.

    Raises:
        SettingError: It differs in form from what --discover writes.
    """
    try:
        [entry] = [entry for entry in catalog["streams"] if entry["tap_stream_id"] == STREAM]
        [entry["schema"]["properties"][key] for key in (KEY, REPLICATION_KEY)]
        for item in entry.get("metadata", []):
            _read_selection(item["metadata"], ["the stream", *item["breadcrumb"]][-1])
        entry = {**entry, "key_properties": [KEY], "replication_key": REPLICATION_KEY}
        Catalog.from_dict({"streams": [entry]})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _not_usable("is not in the form that --discover writes") from None
    return {**catalog, "streams": [entry]}


def _read_selection(metadata: dict[str, Any], of: str) -> None:
    """Read the text of a boolean, as Meltano writes it: the SDK reads any text as true."""
    given = {key for key, value in metadata.items() if value is not None}
    for key in {"selected", "selected-by-default"} & given:
        text = str(metadata[key]).strip().lower()
        if text not in SELECTION:
            raise _not_usable(
                f"sets {key} of {of:.100} to {metadata[key]!r:.100}, which is not true or false"
            )
        metadata[key] = SELECTION[text]


def _not_usable(why: str) -> SettingError:
    return SettingError(
        f"the catalog {why}; make a new one with --discover, or, if Meltano's metadata extra sets "
        "this, correct it there"
    )


def check_stream_maps(maps: Mapping[str, Any] | None, properties: set[str]) -> None:
    """Refuse maps of which any part would have no effect; the SDK ignores a misspelt name.

    Args:
        maps: The value of the setting.
        properties: The properties of the stream before selection.

    Raises:
        SettingError: An event would be lost, or a value that was to be hidden would be written.
    """
    maps = maps or {}
    for name, entry in maps.items():
        stream_map = entry if isinstance(entry, dict) else {}
        stream = str(stream_map.get(SOURCE, name))
        if name != ELSE and not fnmatch(STREAM, stream):
            meant = did_you_mean(stream, [STREAM, ELSE])
            raise _refused(
                f"refers to the stream {stream[:100]!r}, but the only stream is {STREAM}",
                meant or f"; to copy it, set {SOURCE} to {STREAM}",
            )
        _check_stream_map(stream_map, properties)
    own = [name for name, entry in maps.items() if name != ELSE and SOURCE not in (entry or ())]
    if len(own) > 1:  # the SDK uses the last one alone
        named = ", ".join(map(repr, own))
        raise _refused(f"has several maps for {STREAM}: {named}", "; merge them into one")


def _check_stream_map(stream_map: Mapping[str, Any], properties: set[str]) -> None:
    # The SDK reads any other name as a property, even an alias next to a source.
    naming = [SOURCE] if SOURCE in stream_map else [SOURCE, ALIAS]
    operators = [*naming, ELSE, "__filter__", "__key_properties__"]
    known = properties | {*columns_of([*PRODUCTS])}
    kept = {} if ELSE in stream_map else {plain(p): p for p in properties - {*stream_map}}
    for name, expression in stream_map.items():
        if name.startswith("__"):
            if name not in operators:
                raise _refused(
                    f"uses {name[:100]!r}, which is none of the operators {', '.join(operators)}",
                    did_you_mean(name, operators),
                )
        elif expression in NULLS:
            if name not in known:
                raise _refused(
                    f"removes {name[:100]!r}, which is not a property of the stream",
                    did_you_mean(name, known),
                )
        elif name not in properties and plain(name) in kept:
            other = kept[plain(name)]
            raise _refused(
                f"adds {name[:100]!r} and leaves {other} as it is",
                f"; did you mean {other}? To rename it, remove {other} in the same map",
            )


def _refused(what: str, advice: str) -> SettingError:
    return SettingError(f"setting stream_maps {what}{advice or '; correct it, or leave it out'}")

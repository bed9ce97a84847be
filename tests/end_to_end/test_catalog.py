"""Schema and catalog: order, selection, flattening, and catalogs made for something else."""

from pathlib import Path
from typing import Any

import pytest
from singer_sdk.exceptions import ConfigValidationError

from barchart_events_emulator import Emulator
from tap_barchart_events.command import describe_error
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.schema import schema
from tests.expected_events import expected_events
from tests.tap_runs import (
    MODES,
    START,
    catalog_of,
    change,
    hour,
    output_mode,
    settings_of,
    sync,
    synced,
)

END = hour(2)


def of(service: Emulator, **more: Any) -> dict[str, Any]:
    return settings_of(service, end_date=END, window_hours=2, **more)


def test_the_properties_come_in_a_stable_order_each_with_a_description() -> None:
    properties = schema(["WATCHLIST"])["properties"]
    assert list(properties) == [
        *("event_id", "customer", "product", "timestamp", "type"),
        *("user_id", "watchlist_id", "symbol", "view_name", "view_type", "data_mode"),
        *("class_filter", "extra", "end"),
    ]
    assert all(len(definition["description"]) > 10 for definition in properties.values())
    assert "filled by WATCHLIST" in properties["watchlist_id"]["description"]
    assert "WATCHLIST-CREATED" in properties["type"]["description"]
    columns = [definition for name, definition in list(properties.items())[4:-2]]
    assert all(definition["type"] == ["string", "null"] for definition in columns)


# Flattening ----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_flattened_records_have_extra_as_one_property(service: Emulator, depth: int) -> None:
    change(service, header=True, added_column="abTest")
    flat = synced(of(service, flattening_enabled=True, flattening_max_depth=depth))
    assert {name for record in flat.records for name in record} == set(flat.schema)
    assert ("object" in flat.schema["extra"]["type"]) == (depth == 0)
    kinds = {type(record["extra"]) for record in flat.records if record["extra"] is not None}
    assert kinds == {str if depth else dict}
    assert len(flat.records) == len(expected_events(service, ["WATCHLIST"], START, END))


def test_flattening_without_a_depth_is_refused_with_the_missing_setting(service: Emulator) -> None:
    refused = sync(of(service, flattening_enabled=True))
    assert isinstance(refused.error, ConfigValidationError)
    assert "flattening_max_depth is required" in describe_error(refused.error)
    assert service.requests == []


# Selection -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        *(("selected", text, {False}) for text in (False, "false", "False", " FALSE ")),
        *(("selected", text, {True}) for text in (True, "true", "True", None)),
        ("selected-by-default", "false", {False}),
        ("selected-by-default", "true", {True}),
    ],
)
def test_selected_is_a_boolean_or_the_text_of_one(
    service: Emulator, key: str, value: object, expected: set[bool]
) -> None:
    metadata = {"selected": None, key: value}
    of_a_property = synced(of(service), catalog=catalog_of(of(service), user_id=metadata))
    assert {"user_id" in of_a_property.schema} == expected
    assert {"user_id" in record for record in of_a_property.records} == expected

    of_the_stream = synced(of(service), catalog=catalog_of(of(service), stream=metadata))
    assert {bool(of_the_stream.records), bool(of_the_stream.bookmarks)} == expected


@pytest.mark.parametrize("key", ["selected", "selected-by-default"])
@pytest.mark.parametrize("value", ["", "no", "0", 0, 1, [], "falsch"])
@pytest.mark.parametrize("name", ["user_id", "stream"])
def test_any_other_value_of_selected_is_refused_before_any_request(
    service: Emulator, key: str, value: object, name: str
) -> None:
    outcome = sync(of(service), catalog=catalog_of(of(service), **{name: {key: value}}))
    assert isinstance(outcome.error, SettingError)
    what = "the stream" if name == "stream" else "user_id"
    assert (
        f"sets {key} of {what} to {value!r}, which is not true or false; make a new one with "
        "--discover, or, if Meltano's metadata extra sets this, correct it there"
    ) in outcome.reason
    assert service.requests == []


@pytest.mark.parametrize("mode", MODES)
def test_deselected_properties_are_left_out(service: Emulator, tmp_path: Path, mode: str) -> None:
    away = ("user_id", "symbol", "extra")
    catalog = catalog_of(of(service), **{name: {"selected": False} for name in away})
    outcome = synced(of(service, **output_mode(mode, tmp_path)), catalog=catalog)
    assert not set(away) & set(outcome.schema)
    whole = synced(of(service)).records
    assert len(whole) > 50
    assert outcome.records == [{n: v for n, v in r.items() if n not in away} for r in whole]


# Catalogs made for something else ------------------------------------------------------------


def values_in(record: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a record, those in ``extra`` included."""
    values = record | (record["extra"] or {})
    return {name: value for name, value in values.items() if value and name != "extra"}


def test_a_catalog_for_other_products_is_a_warning(service: Emulator, warnings: list[str]) -> None:
    change(service, header=True, added_column="abTest")
    whole = synced(of(service)).records
    warnings.clear()
    catalog = catalog_of(of(service, products=["ALERT"]))
    outcome = synced(of(service), catalog=catalog)
    lacking, *new = warnings
    assert lacking == (
        "the catalog was made for other products, or by an older version: it lacks the columns "
        "watchlist_id, view_name, view_type, data_mode, class_filter of the products configured; "
        "their values go to extra, if that is selected; make a new one with --discover"
    )
    assert [warning.rpartition(": columns that are not ")[2] for warning in new] == [
        "in the schema go to extra, if it is selected: ab_test"
    ], "those of the first warning are not repeated"
    assert outcome.records[0].keys() == catalog["streams"][0]["schema"]["properties"].keys()
    assert [*map(values_in, outcome.records)] == [*map(values_in, whole)]
    assert {name for record in outcome.records for name in record["extra"] or ()} >= {"ab_test"}


@pytest.mark.parametrize("removed", [[], ["user_id"]])
def test_a_catalog_with_all_known_columns_in_schema_or_metadata_is_no_warning(
    service: Emulator, warnings: list[str], removed: list[str]
) -> None:
    catalog = catalog_of(of(service, products=["WATCHLIST", "ALERT"]))
    for name in removed:  # its metadata says that the column is left out on purpose
        del catalog["streams"][0]["schema"]["properties"][name]
    outcome = synced(of(service), catalog=catalog)
    assert warnings == []
    left_out = {"user_id"} - {name for record in outcome.records for name in values_in(record)}
    assert left_out == set(removed), "nor does it come as extra"


@pytest.mark.parametrize("mode", MODES)
def test_an_added_property_is_filled_as_text(service: Emulator, tmp_path: Path, mode: str) -> None:
    change(service, header=True, added_column="abTest")
    catalog = catalog_of(of(service))
    catalog["streams"][0]["schema"]["properties"] |= {
        "ab_test": {"type": ["string", "null"]},
        "not_there": {"type": "null"},
    }
    records = synced(of(service, **output_mode(mode, tmp_path)), catalog=catalog).records
    expected = expected_events(service, ["WATCHLIST"], START, END)
    found = {record["event_id"]: record["ab_test"] for record in records}
    assert found == {key: (e.get("extra") or {}).get("ab_test") for key, e in expected.items()}
    assert any(found.values())
    assert {r["extra"] for r in records} == {r["not_there"] for r in records} == {None}

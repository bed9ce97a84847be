"""Schema, catalog and flattening, end to end for every product."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigValidationError

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.command import describe_error
from tap_barchart_events.exceptions import LayoutError, SettingError
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.schema import schema
from tap_barchart_events.tap import TapBarchartEvents
from tests.expected_events import arrived, expected_events
from tests.tap_runs import START, Tap, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

END = "2026-03-02T02:00:00.000+00:00"


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.01, events_per_hour=300) as emulator:
        yield emulator


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
    assert properties["type"]["type"] == ["string", "null"]


@pytest.mark.parametrize("added", sorted(PRODUCTS))
def test_a_product_added_later_only_adds_nullable_columns(added: str) -> None:
    before = schema(["WATCHLIST"])["properties"]
    after = schema(["WATCHLIST", added])["properties"]
    assert {name: after[name]["type"] for name in before} == {
        name: definition["type"] for name, definition in before.items()
    }
    assert after == schema([added, "WATCHLIST"])["properties"], "whatever the setting's order"
    new = {name: after[name] for name in after if name not in before}
    assert all("null" in definition["type"] for definition in new.values())


@pytest.mark.parametrize("product", sorted(PRODUCTS))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layout": "documented"},
        {"header": True, "layout": "documented"},
        {"header": True, "header_style": "snake_case", "shuffled_columns": True},
        {"header": True, "added_column": "abTest", "quoting": "minimal"},
    ],
    ids=str,
)
def test_every_product_has_the_right_value_under_the_right_name(
    service: Emulator, product: str, options: dict[str, Any]
) -> None:
    for name, value in options.items():
        setattr(service, name, value)
    outcome = sync(of(service, products=[product]))
    assert outcome.error is None
    expected = expected_events(service, [product], START, END)
    assert len(expected) > 100
    assert arrived(outcome.records) == expected


def test_a_column_that_the_vendor_adds_in_the_middle_is_never_a_silent_shift(
    service: Emulator,
) -> None:
    service.added_column = "abTest"
    outcome = sync(of(service, products=["WATCHLIST"]))
    assert isinstance(outcome.error, LayoutError)
    assert "10 columns" in str(outcome.error)
    assert "columns" in str(outcome.error)
    assert not outcome.records
    assert not outcome.bookmarks


def test_a_product_that_is_not_known_is_read_with_a_header_or_with_columns() -> None:
    columns = ["timestamp", "type", "userId", "gadgetSize"]

    def source(_customer: str, _product: str, start: int, _end: int) -> list[Event]:
        return [Event(start + 5, "GADGET-MADE", {"userId": "u1", "gadgetSize": "7"})]

    with Emulator(job_seconds=0.01, source=source, columns={"GADGET": columns}) as emulator:
        without = sync(of(emulator, products=["GADGET"]))
        assert isinstance(without.error, LayoutError)
        without_header = sync(of(emulator, products=["GADGET"], columns={"GADGET": columns}))
        emulator.header = True
        headed = sync(of(emulator, products=["GADGET"]))
    for outcome in (without_header, headed):
        assert outcome.error is None
        [record] = outcome.records
        assert record["extra"] == {"user_id": "u1", "gadget_size": "7"}
    assert without_header.records[0]["event_id"] == headed.records[0]["event_id"]


def test_another_delimiter_is_asked_of_the_service(service: Emulator) -> None:
    expected = expected_events(service, ["WATCHLIST"], START, END)
    assert arrived(sync(of(service, delimiter="~")).records) == expected
    assert service.jobs[-1].output == {"delimiter": "~"}
    sync(of(service))
    assert not service.jobs[-1].output, "the service's default is not asked for"


def test_without_quotes_in_the_file_quotes_are_data() -> None:
    def source(_customer: str, _product: str, start: int, _end: int) -> list[Event]:
        return [Event(start + 5, "WATCHLIST-ACCESSED", {"userId": '"u" 1', "watchlistId": '"'})]

    with Emulator(job_seconds=0.01, source=source) as emulator:
        refused = sync(of(emulator))
        assert "set quote_character to empty" in str(refused.error)
        [record] = sync(of(emulator, quote_character="")).records
    assert (record["user_id"], record["watchlist_id"]) == ('"u" 1', '"')


def test_a_stream_map_can_type_a_column(service: Emulator) -> None:
    maps = {"events": {"shows_closed": "bool(show_closed_positions == 'true')"}}
    outcome = sync(of(service, products=["PORTFOLIO"], stream_maps=maps))
    [made] = [m for m in outcome.messages if m["type"] == "SCHEMA"]
    assert "boolean" in made["schema"]["properties"]["shows_closed"]["type"]
    assert {r["shows_closed"] for r in outcome.records} == {True, False}
    for record in outcome.records:
        assert record["shows_closed"] == (record["show_closed_positions"] == "true")


def test_a_stream_can_be_renamed_and_flattened(service: Emulator) -> None:
    service.header, service.added_column = True, "abTest"
    renamed = sync(of(service, stream_maps={"events": {"__alias__": "usage"}}))
    assert {m["stream"] for m in renamed.messages if "stream" in m} == {"usage"}


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_schema_and_records_agree_when_flattened_with_extra_as_one_property(
    service: Emulator, depth: int
) -> None:
    service.header, service.added_column = True, "abTest"
    flat = sync(of(service, flattening_enabled=True, flattening_max_depth=depth))
    assert flat.error is None
    [made] = [m for m in flat.messages if m["type"] == "SCHEMA"]
    assert "extra" in made["schema"]["properties"]
    assert {name for record in flat.records for name in record} == set(made["schema"]["properties"])
    assert ("object" in made["schema"]["properties"]["extra"]["type"]) == (depth == 0)
    kinds = {type(record["extra"]) for record in flat.records if record["extra"] is not None}
    assert kinds == {str if depth else dict}
    assert len(flat.records) == len(expected_events(service, ["WATCHLIST"], START, END))


@pytest.mark.parametrize("depth", [-1, "one", 1.5])
def test_flattening_to_a_depth_that_is_none_is_refused(service: Emulator, depth: object) -> None:
    refused = sync(of(service, flattening_enabled=True, flattening_max_depth=depth))
    said = "setting flattening_max_depth must be a whole number, at least 0, not"
    assert said in str(refused.error)


def test_flattening_without_a_depth_is_refused_by_the_setting_that_lacks(service: Emulator) -> None:
    refused = sync(of(service, flattening_enabled=True))
    assert isinstance(refused.error, ConfigValidationError)
    assert "flattening_max_depth is required" in describe_error(refused.error)
    assert service.requests == []


def catalog_of(*products: str, **metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a discovered catalog, with metadata added for properties, or for the ``stream``."""
    tap = TapBarchartEvents(config={"products": list(products)}, validate_config=False)
    catalog: dict[str, Any] = json.loads(tap.catalog_json_text)
    for name, more in metadata.items():
        breadcrumb = [] if name == "stream" else ["properties", name]
        [entry] = [m for m in catalog["streams"][0]["metadata"] if m["breadcrumb"] == breadcrumb]
        entry["metadata"] |= more
    return catalog


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
    of_a_property = sync(of(service), catalog=catalog_of("WATCHLIST", user_id=metadata))
    [made] = [m for m in of_a_property.messages if m["type"] == "SCHEMA"]
    assert {"user_id" in made["schema"]["properties"]} == expected
    assert {"user_id" in record for record in of_a_property.records} == expected

    of_the_stream = sync(of(service), catalog=catalog_of("WATCHLIST", stream=metadata))
    assert of_a_property.error is of_the_stream.error is None
    assert {bool(of_the_stream.records), bool(of_the_stream.bookmarks)} == expected


@pytest.mark.parametrize("key", ["selected", "selected-by-default"])
@pytest.mark.parametrize("value", ["", "no", "0", 0, 1, [], "falsch"])
@pytest.mark.parametrize("name", ["user_id", "stream"])
def test_any_other_value_of_selected_is_refused_before_any_request(
    service: Emulator, key: str, value: object, name: str
) -> None:
    outcome = sync(of(service), catalog=catalog_of("WATCHLIST", **{name: {key: value}}))
    assert isinstance(outcome.error, SettingError)
    what = "the stream" if name == "stream" else "user_id"
    assert f"has {value!r} as {key} of {what}, which is neither" in str(outcome.error)
    assert service.requests == []


def test_a_catalog_that_meltano_has_changed_is_refused_with_what_to_do_there(
    service: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(
        json.dumps(catalog_of("WATCHLIST", user_id={"selected": "maybe"})), encoding="utf-8"
    )
    outcome = Tap(tmp_path, of(service), arguments=(f"--catalog={path}",)).end()
    assert outcome.code == 1
    assert outcome.log.splitlines()[-1].endswith(
        "which is neither true nor false; make a new one with --discover, or, if the extra "
        "metadata of Meltano sets this, correct it there"
    )
    assert service.requests == []


@pytest.mark.parametrize("mode", [{}, {"stream_maps": {"events": {}}}], ids=str)
def test_a_catalog_made_for_other_products_is_a_warning_that_says_so(
    service: Emulator, tmp_path: Path, mode: dict[str, Any]
) -> None:
    service.header, service.added_column = True, "abTest"
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(catalog_of("ALERT")), encoding="utf-8")
    outcome = Tap(tmp_path, of(service, **mode), arguments=(f"--catalog={path}",)).end()
    assert outcome.code == 0, outcome.log
    warnings = [line.split(" | ", 3)[3] for line in outcome.log.splitlines() if "WARNING" in line]
    [lacking, new] = [line for line in warnings if "extra" in line]
    assert lacking == (
        "the catalog was made for other products, or by an older version: it lacks the columns "
        "watchlist_id, view_name, view_type, data_mode, class_filter of the products configured; "
        "their values go to extra, if that is selected; make a new one with --discover"
    )
    assert "columns that the schema does not name go to extra, if that is selected: ab_" in new
    assert {name for r in outcome.records for name in r["extra"] or ()} >= {
        "watchlist_id",
        "ab_test",
    }


@pytest.mark.parametrize("removed_from", ["nothing", "schema"])
def test_a_catalog_with_all_known_columns_in_schema_or_metadata_is_no_warning(
    service: Emulator, tmp_path: Path, removed_from: str
) -> None:
    catalog = catalog_of("WATCHLIST", "ALERT")
    if removed_from == "schema":  # its metadata says that the column is left out on purpose
        del catalog["streams"][0]["schema"]["properties"]["user_id"]
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(catalog), encoding="utf-8")
    outcome = Tap(tmp_path, of(service), arguments=(f"--catalog={path}",)).end()
    assert outcome.code == 0, outcome.log
    assert "the catalog" not in outcome.log


def test_the_credentials_can_be_tried_with_a_stream_that_is_deselected(
    service: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(
        json.dumps(catalog_of("WATCHLIST", stream={"selected": False})), encoding="utf-8"
    )
    outcome = Tap(tmp_path, of(service), arguments=("--test", f"--catalog={path}")).end()
    assert outcome.code == 0, outcome.log
    assert "one event of TGAM/WATCHLIST was read" in outcome.log.splitlines()[-1]

"""Names of columns: in headers, in the setting ``columns``, and what is logged when they change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from barchart_events_emulator.files import HEADER_STYLES
from tap_barchart_events.exceptions import FileError, LayoutError
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.tap import TapBarchartEvents
from tap_barchart_events.windows import from_iso
from tests.end_to_end.test_expected_events import all_records
from tests.expected_events import arrived, expected_events
from tests.tap_runs import START, Outcome, output_mode, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

END = "2026-03-02T02:00:00.000+00:00"
AT = from_iso(START)
NAMES = PRODUCTS["WATCHLIST"].layouts[-1]


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.01, events_per_hour=60, header=True) as emulator:
        yield emulator


def of(service: Emulator, **more: Any) -> dict[str, Any]:
    return settings_of(service, **{"end_date": END, "window_hours": 2, **more})


def served(*rows: Sequence[str], **more: Any) -> Outcome:
    """Sync one window whose file has these rows."""
    body = "".join("|".join(row) + "\n" for row in rows).encode()
    with Emulator(job_seconds=0.01, body=lambda _: body) as service:
        return sync(of(service, **more))


# Headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", HEADER_STYLES)
@pytest.mark.parametrize("product", ["WATCHLIST", "CMDTYVIEW"])
def test_a_header_has_the_known_columns_and_ids_whatever_its_case_and_blanks(
    service: Emulator, style: str, product: str
) -> None:
    service.header_style = style
    outcome = sync(of(service, products=[product]))
    assert arrived(outcome.records) == expected_events(service, [product], START, END)


EVENT = [str(AT), "WATCHLIST-CREATED", "me", "list"]


@pytest.mark.parametrize(
    "header",
    [
        ["eventTime", "eventType", "user", "watchlist"],
        ["timestamp", "type", "user", "watchlist"],
        ["timestamp", "type", "userId", ""],
        ["timestamp", "type", "userId", "userId"],
    ],
)
def test_columns_replaces_a_header_whose_names_are_of_no_use(header: list[str]) -> None:
    refused = served(header, EVENT)
    assert isinstance(refused.error, FileError)
    assert "in the setting columns" in str(refused.error)
    assert not refused.bookmarks

    named = {"WATCHLIST": NAMES[:4]}
    [record] = served(header, EVENT, columns=named).records
    [plain] = served(NAMES[:4], EVENT).records
    assert record == plain


def test_columns_does_not_replace_a_bad_row() -> None:
    columns = {"WATCHLIST": NAMES[:4]}
    bad = served(["yesterday", *EVENT[1:]], EVENT, columns=columns)
    assert "neither a header" in str(bad.error)
    assert not bad.records


def test_columns_that_replaces_a_header_is_checked_against_event_types() -> None:
    rows = [[str(AT + n), "WATCHLIST-CREATED", "me", "list"] for n in range(20)]
    columns = {"WATCHLIST": ["timestamp", "type", "symbol", "userId"]}
    shifted = served(["when", "what", "who", "which"], *rows, columns=columns)
    assert isinstance(shifted.error, LayoutError)
    assert "seem shifted" in str(shifted.error)


def test_a_column_without_a_name_is_dropped_while_it_is_empty(service: Emulator) -> None:
    service.columns = {"WATCHLIST": (*NAMES, "")}
    outcome = sync(of(service))
    assert outcome.error is None
    assert arrived(outcome.records) == expected_events(service, ["WATCHLIST"], START, END)

    filled = served([*NAMES[:4], ""], [*EVENT, ""], [*EVENT, "SECRET"])
    assert isinstance(filled.error, LayoutError)
    why = "column 5 has no name in the header of the file, but values in 1 of the rows"
    assert why in str(filled.error)
    assert "in the setting columns" in str(filled.error)
    assert "SECRET" not in str(filled.error)


def test_a_second_column_of_the_same_name_goes_to_extra() -> None:
    [record] = served(["timestamp", "type", "User Id", "userId"], EVENT).records
    assert (record["user_id"], record["extra"]) == ("list", {"user_id_2": "me"})


# What is logged when columns change -----------------------------------------------------------

LATER = "2026-03-02T04:00:00.000+00:00"
LACKS = "lacks columns that earlier files had"
EXTRA = "go to extra"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of the tap, in a list that grows."""
    found: list[str] = []

    def keep(record: Any) -> bool:
        if record.levelname == "WARNING" and record.name.startswith("tap-barchart-events"):
            found.append(record.getMessage())
        return True

    caplog.handler.addFilter(keep)
    return found


def columns_in(outcome: Outcome) -> dict[str, Any]:
    """Return what the last STATE keeps of columns."""
    [partition] = outcome.states[-1]["bookmarks"]["events"]["partitions"]
    found: dict[str, Any] = partition["columns"]
    return found


def test_a_header_that_lacks_a_column_that_earlier_files_had_is_one_warning(
    service: Emulator, warnings: list[str]
) -> None:
    first = sync(of(service))
    assert columns_in(first) == {"known": "7f"}
    service.columns = {"WATCHLIST": ["abTest", *(n.replace("userId", "usrId") for n in NAMES[:-1])]}
    second = sync(of(service, end_date=LATER, window_hours=1), first.states[-1])
    [warning] = warnings
    assert warning.startswith("WATCHLIST 2026-03-02 02:00 → 03:00: the header lacks columns")
    assert LACKS in warning
    assert "user_id (the nearest name is usr_id), class_filter" in warning
    assert columns_in(second) == {"known": "3e"}

    service.columns = None
    third = sync(of(service, end_date="2026-03-02T06:00:00.000+00:00"), second.states[-1])
    assert columns_in(third) == {"known": "7f"}
    assert len(warnings) == 1, "columns that come back are none"


def test_a_file_without_a_header_lacks_nothing(service: Emulator, warnings: list[str]) -> None:
    first = sync(of(service, products=["PORTFOLIO"]))
    service.header, service.layout = False, "documented"
    second = sync(of(service, products=["PORTFOLIO"], end_date=LATER), first.states[-1])
    assert second.error is None
    assert not warnings
    assert columns_in(first) != columns_in(second)


def test_columns_that_go_to_extra_are_a_warning_for_the_first_time_alone(
    service: Emulator, warnings: list[str]
) -> None:
    service.added_column = "abTest"
    first = sync(of(service, window_hours=0.5))
    [warning] = [w for w in warnings if EXTRA in w]
    assert warning.startswith(
        "WATCHLIST 2026-03-02 00:00 → 00:30: columns that the schema does not"
    )
    assert warning.endswith("go to extra, if that is selected: ab_test")
    assert columns_in(first)["extra"] == ["ab_test"]
    warnings.clear()
    service.added_column = "x" * 33
    second = sync(of(service, end_date=LATER), first.states[-1])
    assert [warning.endswith("x" * 33) for warning in warnings] == [True]
    assert columns_in(second)["extra"][0] == "ab_test"
    assert [len(name) for name in columns_in(second)["extra"]] == [7, 32]
    warnings.clear()
    sync(of(service, end_date="2026-03-02T06:00:00.000+00:00"), second.states[-1])
    assert not warnings


def test_state_keeps_at_most_20_names(warnings: list[str]) -> None:
    header = [*NAMES[:4], *(f"new{n}" for n in range(30))]
    row = [*EVENT, *["x"] * 30]
    outcome = served(header, row, [str(AT + 3_600_000), *row[1:]], window_hours=1)
    assert columns_in(outcome)["extra"] == [f"new{n}" for n in range(20)]
    assert len([w for w in warnings if EXTRA in w]) == 1, "a sync names a column once"


@pytest.mark.parametrize(
    "damage",
    [
        None,
        5,
        "x",
        [1],
        {"known": "xyz", "extra": 7},
        {"known": "f" * 5000, "extra": [[], "\ud800"]},
    ],
)
def test_damaged_columns_in_state_cost_a_warning_at_most(
    service: Emulator, warnings: list[str], damage: object
) -> None:
    service.added_column = "abTest"
    first = sync(of(service))
    warnings.clear()
    before = columns_in(first)
    state = first.states[-1]
    state["bookmarks"]["events"]["partitions"][0]["columns"] = damage
    second = sync(of(service, end_date=LATER), state)
    assert arrived(second.records) == expected_events(service, ["WATCHLIST"], END, LATER)
    assert [EXTRA in warning for warning in warnings] == [True]
    assert columns_in(second)["known"] == before["known"]
    assert columns_in(second)["extra"][-1:] == before["extra"]


# Catalogs -------------------------------------------------------------------------------------


def catalog_of(service: Emulator, **changes: Any) -> dict[str, Any]:
    """Return the catalog with changed properties, and with ``extra`` deselected if so asked."""
    catalog: dict[str, Any] = json.loads(
        json.dumps(TapBarchartEvents(config=of(service)).catalog_dict)
    )
    [stream] = catalog["streams"]
    stream["schema"]["properties"] |= changes
    return catalog


@pytest.mark.parametrize("way", ["bulk", "one by one", "files"])
def test_a_property_that_a_catalog_adds_is_filled_as_text(
    service: Emulator, tmp_path: Path, way: str
) -> None:
    service.added_column = "abTest"
    catalog = catalog_of(service, ab_test={"type": ["string", "null"]}, not_there={"type": "null"})
    settings = of(service, **output_mode(way, tmp_path, batch_size=1_000))
    outcome = sync(settings, catalog=catalog)
    assert outcome.error is None
    records = all_records(outcome)
    expected = expected_events(service, ["WATCHLIST"], START, END)
    found = [r["ab_test"] for r in sorted(records, key=lambda r: r["event_id"])]
    assert found == [(expected[key].get("extra") or {}).get("ab_test") for key in sorted(expected)]
    assert any(found)
    assert {r["extra"] for r in records} == {r["not_there"] for r in records} == {None}


def test_the_warning_is_true_also_when_extra_is_deselected(
    service: Emulator, warnings: list[str]
) -> None:
    service.added_column = "abTest"
    catalog = catalog_of(service)
    [stream] = catalog["streams"]
    for entry in stream["metadata"]:
        if entry["breadcrumb"] == ["properties", "extra"]:
            entry["metadata"]["selected"] = False
    outcome = sync(of(service), catalog=catalog)
    assert not any("extra" in record for record in outcome.records)
    [warning] = warnings
    assert warning.endswith("does not name go to extra, if that is selected: ab_test")

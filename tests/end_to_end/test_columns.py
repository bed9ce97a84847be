"""Columns of files: by header, setting or known layout, and what is logged when they change."""

from collections.abc import Sequence
from typing import Any

import pytest

from barchart_events_emulator import Emulator
from barchart_events_emulator.files import HEADER_STYLES
from tap_barchart_events.exceptions import FileError, LayoutError
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import from_iso
from tests.expected_events import arrived, expected_events
from tests.tap_runs import START, Outcome, change, hour, partition, settings_of, sync, synced

END = hour(2)
AT = from_iso(START)
NAMES = [*PRODUCTS["WATCHLIST"].layouts[-1]]
EVENT = [str(AT), "WATCHLIST-CREATED", "me", "list"]

EMULATOR = {"events_per_hour": 100, "header": True}


def of(service: Emulator, **more: Any) -> dict[str, Any]:
    return settings_of(service, **{"end_date": END, "window_hours": 2, **more})


def served(*rows: Sequence[str], **more: Any) -> Outcome:
    """Sync one window whose file has these rows."""
    body = "".join("|".join(row) + "\n" for row in rows).encode()
    with Emulator(job_seconds=0.01, body=lambda _: body) as service:
        return sync(of(service, **more))


WITHOUT_NAMES = {"header": False}
BY_NAMES = [
    *({"header_style": style} for style in HEADER_STYLES),
    {"added_column": "abTest", "quoting": "minimal"},
]


@pytest.mark.parametrize(
    ("product", "options"),
    [
        *((product, WITHOUT_NAMES) for product in sorted(PRODUCTS)),
        *((product, WITHOUT_NAMES | {"layout": "documented"}) for product in sorted(PRODUCTS)),
        *((p, {"layout": "documented", "shuffled_columns": True}) for p in sorted(PRODUCTS)),
        # No two known columns of a product are alike by letters and digits, see test_layout.
        *(("CMDTYVIEW", options) for options in BY_NAMES),
    ],
    ids=str,
)
def test_every_product_has_the_right_value_under_the_right_name(
    service: Emulator, product: str, options: dict[str, Any]
) -> None:
    change(service, **options)
    expected = expected_events(service, [product], START, END)
    assert len(expected) > 50
    assert arrived(synced(of(service, products=[product])).records) == expected


@pytest.mark.parametrize(
    "header",
    [["eventTime", "eventType", "user", "watchlist"], ["timestamp", "type", "userId", "userId"]],
)
def test_columns_replaces_a_header_whose_names_are_of_no_use(header: list[str]) -> None:
    refused = served(header, EVENT)
    assert isinstance(refused.error, FileError)
    assert "in the setting columns" in refused.reason
    assert not refused.bookmarks
    [record] = served(header, EVENT, columns={"WATCHLIST": NAMES[:4]}).records
    [plain] = served(NAMES[:4], EVENT).records
    assert record == plain


def test_columns_in_another_order_than_a_header_of_no_use_fail_the_window() -> None:
    rows = [[str(AT + n), *EVENT[1:]] for n in range(20)]
    columns = {"WATCHLIST": ["timestamp", "type", "symbol", "userId"]}
    shifted = served(["when", "what", "who", "which"], *rows, columns=columns)
    assert isinstance(shifted.error, LayoutError)
    assert "seem to be shifted" in shifted.reason


def test_a_column_without_a_name_is_dropped_while_it_is_empty(service: Emulator) -> None:
    service.columns = {"WATCHLIST": (*NAMES, "")}
    outcome = synced(of(service))
    assert arrived(outcome.records) == expected_events(service, ["WATCHLIST"], START, END)

    filled = served([*NAMES[:4], ""], [*EVENT, ""], [*EVENT, "SECRET"])
    assert isinstance(filled.error, LayoutError)
    why = "column 5 has no name in the header of the file, but values in 1 of the rows"
    assert why in filled.reason
    assert "in the setting columns" in filled.reason
    assert "SECRET" not in filled.reason


# What is logged when columns change -----------------------------------------------------------

LATER, LATEST = hour(4), hour(6)


def columns_in(outcome: Outcome) -> dict[str, Any]:
    """Return what the last STATE keeps of columns."""
    found: dict[str, Any] = partition(outcome.states[-1])["columns"]
    return found


def test_a_header_that_lacks_a_column_that_earlier_files_had_is_one_warning(
    service: Emulator, warnings: list[str]
) -> None:
    first = synced(of(service))
    assert columns_in(first) == {"known": "7f"}
    service.columns = {"WATCHLIST": ["abTest", *(n.replace("userId", "usrId") for n in NAMES[:-1])]}
    second = synced(of(service, end_date=LATER, window_hours=1), first.states[-1])
    [warning] = warnings
    assert warning.startswith("TGAM/WATCHLIST 2026-03-02 02:00 → 03:00: the header lacks columns")
    assert (
        "earlier files had, so they are null: user_id (the nearest name is usr_id), class_"
        in warning
    )
    assert columns_in(second) == {"known": "3e"}

    service.columns = None
    third = synced(of(service, end_date=LATEST), second.states[-1])
    assert columns_in(third) == {"known": "7f"}
    assert len(warnings) == 1, "columns that come back are none"


def test_a_file_without_a_header_lacks_nothing(service: Emulator, warnings: list[str]) -> None:
    first = synced(of(service, products=["PORTFOLIO"]))
    change(service, header=False, layout="documented")
    second = synced(of(service, products=["PORTFOLIO"], end_date=LATER), first.states[-1])
    assert warnings == []
    assert columns_in(first) != columns_in(second)


def test_columns_that_go_to_extra_are_a_warning_for_the_first_time_alone(
    service: Emulator, warnings: list[str]
) -> None:
    service.added_column = "abTest"
    first = synced(of(service, window_hours=0.5))
    said = "columns that are not in the schema go to extra, if it is selected: "
    assert warnings == ["TGAM/WATCHLIST 2026-03-02 00:00 → 00:30: " + said + "ab_test"]
    assert columns_in(first)["extra"] == ["ab_test"]
    service.added_column = "x" * 33
    second = synced(of(service, end_date=LATER), first.states[-1])
    assert warnings[1:] == ["TGAM/WATCHLIST 2026-03-02 02:00 → 04:00: " + said + "x" * 33]
    assert columns_in(second)["extra"][0] == "ab_test"
    assert [len(name) for name in columns_in(second)["extra"]] == [7, 32]
    synced(of(service, end_date=LATEST), second.states[-1])
    assert len(warnings) == 2


def test_state_keeps_at_most_20_names(warnings: list[str]) -> None:
    header = [*NAMES[:4], *(f"new{n}" for n in range(30))]
    row = [*EVENT, *["x"] * 30]
    outcome = served(header, row, [str(AT + 3_600_000), *row[1:]], window_hours=1)
    assert columns_in(outcome)["extra"] == [f"new{n}" for n in range(20)]
    assert len([w for w in warnings if "go to extra" in w]) == 1, "a sync names a column once"

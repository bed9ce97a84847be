"""Names of columns: in headers, in the setting ``columns``, and what is logged when they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from barchart_events_emulator import Emulator
from barchart_events_emulator.files import HEADER_STYLES
from tap_barchart_events.exceptions import FileError, LayoutError
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import from_iso
from tests.expected_events import arrived, expected_events
from tests.tap_runs import START, Outcome, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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

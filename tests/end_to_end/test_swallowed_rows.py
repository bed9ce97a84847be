"""Rows between two quote characters of a file that does not quote: never lost with exit code 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from barchart_events_emulator import Emulator
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import from_iso
from tests.tap_runs import START, Tap, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT = from_iso(START)


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(job_seconds=0.05, events_per_hour=1) as emulator:
        yield emulator


def watchlist(number: int, rest: str) -> str:
    return f"{AT + number}|WATCHLIST-CREATED|u1|w1|{rest}\n"


HEADER = "|".join(PRODUCTS["WATCHLIST"].layouts[-1]) + "\n"
FILES = {
    "header": HEADER + watchlist(1, 'AAA|"Tech|||') + watchlist(2, 'BBB|Energy"|||'),
    "no header": "".join(
        [watchlist(0, "A||||"), watchlist(1, 'AAA|"Tech|||')]
        + [watchlist(n, "B|x|||") for n in range(2, 900)]
        + [watchlist(900, 'BBB|Energy"|||')]
    ),
    "one delimiter more": watchlist(1, 'AAA|"Tech|||') + watchlist(2, 'B|BB|Energy"|||'),
    "another column": watchlist(1, 'AAA|"Tech|||') + watchlist(2, 'BBB||Energy"||'),
}


@pytest.mark.parametrize("name", FILES)
def test_rows_between_two_quotes_end_the_sync_and_an_empty_quote_character_reads_all(
    service: Emulator, tmp_path: Path, name: str
) -> None:
    text = FILES[name]
    service.fault("download", "body", body=text.encode(), times=None)
    settings = settings_of(service, end_date="2026-03-02T01:00:00Z", layout_check="warning")

    outcome = Tap(tmp_path, settings).end()

    last = outcome.log.splitlines()[-1]
    assert outcome.code == 1
    assert (outcome.records, outcome.bookmarks) == ([], {})
    opens = text[: text.index('"Tech')].count("\n") + 1
    assert f"line {opens} opens a quoted value that holds line {opens + 1}" in last
    assert last.endswith("if the file does not quote its values, set quote_character to empty")
    assert "Tech" not in outcome.log
    if name != "one delimiter more":
        again = Tap(tmp_path, {**settings, "quote_character": ""}).end()
        assert again.code == 0
        assert len(again.records) == text.count("|WATCHLIST-CREATED|")

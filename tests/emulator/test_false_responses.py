"""The emulator's false responses: another filter, the same job for all, a file of another day."""

from __future__ import annotations

from typing import Any

import pytest

from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import HOUR
from tests.emulator_client import START, Client, as_multiset, read

DAY = 24 * HOUR
TYPES = ["WATCHLIST-CREATED"]
ASKED = {
    "customer": "TGAM",
    "product": "WATCHLIST",
    "types": TYPES,
    "start": START,
    "end": START + HOUR,
}


def test_a_job_tells_its_filter_in_every_response(client: Client) -> None:
    job = client.start(types=TYPES, start=START, end=START + HOUR).json()
    assert job["filter"] == ASKED
    client.finish(job["source"])
    assert client.poll(job["source"]).json()["filter"] == ASKED
    client.emulator.numbers_as_strings = True
    job = client.start(types=TYPES, start=START, end=START + HOUR).json()
    assert job["filter"] == {**ASKED, "start": str(START), "end": str(START + HOUR)}


@pytest.mark.parametrize(
    ("details", "echoed"),
    [
        ({"customer": "BARCHART"}, {**ASKED, "customer": "BARCHART"}),
        ({"product": "ALERT"}, {**ASKED, "product": "ALERT"}),
        ({"start": 0, "end": 1}, {**ASKED, "start": 0, "end": 1}),
        ({"types": ["A", "B"]}, {**ASKED, "types": ["A", "B"]}),
        ({"left_out": ["types", "end"]}, {k: ASKED[k] for k in ("customer", "product", "start")}),
    ],
)
@pytest.mark.parametrize("call", ["start", "poll"])
def test_a_job_can_tell_another_filter(
    client: Client, call: str, details: dict[str, Any], echoed: dict[str, Any]
) -> None:
    client.emulator.fault(call, "filter", **details)
    job = client.start(types=TYPES, start=START, end=START + HOUR).json()
    assert job["filter"] == (echoed if call == "start" else ASKED)
    assert client.poll(job["source"]).json()["filter"] == echoed
    client.finish(job["source"])
    assert client.poll(job["source"]).json()["filter"] == echoed
    other = client.start(types=TYPES, start=START, end=START + HOUR).json()
    assert other["filter"] == ASKED


def test_a_job_can_tell_no_filter(client: Client) -> None:
    client.emulator.fault("start", "no-filter")
    job = client.start(start=START, end=START + HOUR).json()
    assert "filter" not in job
    assert "filter" not in client.poll(job["source"]).json()


def test_every_start_can_be_answered_with_the_same_job(client: Client) -> None:
    client.emulator.fault("start", "same-job", times=None)
    first, *others = [client.start(start=START, end=START + n).json() for n in (1, 2, 3)]
    assert {job["source"] for job in others} == {first["source"]}
    assert all(job["filter"] == first["filter"] for job in others)
    assert len(client.emulator.jobs) == 1


def test_a_file_can_hold_the_events_of_another_day(client: Client) -> None:
    emulator = client.emulator
    emulator.fault("start", "other-range", milliseconds=-DAY)
    source = client.start(start=START, end=START + HOUR).json()["source"]
    client.finish(source)
    assert client.poll(source).json()["filter"]["start"] == START
    file = client.download(client.link(source).json()["link"]).text
    events = read(file, PRODUCTS["WATCHLIST"].layouts[-1])
    expected = list(emulator.events("TGAM", "WATCHLIST", START - DAY, START - DAY + HOUR + 1))
    assert as_multiset(events) == as_multiset(expected)
    assert len(expected) > 10

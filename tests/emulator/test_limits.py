"""The emulator's limits: events per export, jobs at once, outages, how long exports are kept."""

from __future__ import annotations

import time
from collections import Counter
from email.utils import parsedate_to_datetime

import pytest
import requests

from barchart_events_emulator import Emulator, StartedWindow
from tap_barchart_events.windows import HOUR
from tests.emulator_client import NOW, START, Client

MONDAY = START - 4 * HOUR
WEEK = 7 * 24 * HOUR


@pytest.mark.parametrize(("hours", "maximum"), [(0, None), (5, None), (24, 200)])
def test_a_job_takes_a_time_for_each_event_and_three_times_that_of_the_largest_if_too_large(
    client: Client, hours: int, maximum: int | None
) -> None:
    emulator = client.emulator
    emulator.job_variation, emulator.seconds_per_event = 0.0, 0.0001
    emulator.max_events, emulator.too_large_factor = maximum, 3.0
    status = client.finish(client.start(start=START, end=START + hours * HOUR).json()["source"])
    assert status == ("TIMEOUT" if maximum else "COMPLETE")
    (job,) = emulator.jobs
    assert job.ended is not None
    seconds = 0.02 + 0.0001 * (maximum or job.count or 0)
    assert job.ended - job.started == pytest.approx(3 * seconds if maximum else seconds)


def test_the_limit_of_events_can_change_while_jobs_run(client: Client) -> None:
    emulator = client.emulator
    before = client.start(start=START, end=START + HOUR).json()["source"]
    emulator.max_events = 1
    after = client.start(start=START, end=START + HOUR).json()["source"]
    assert (client.finish(before), client.finish(after)) == ("COMPLETE", "TIMEOUT")


@pytest.mark.parametrize("status", [429, 503])
def test_a_start_is_refused_while_as_many_jobs_run_as_may(client: Client, status: int) -> None:
    emulator = client.emulator
    emulator.job_seconds, emulator.job_variation = 0.3, 0.0
    emulator.max_running_jobs, emulator.refusal_status = 2, status
    first = client.start(start=START, end=START + HOUR).json()["source"]
    assert client.start(start=START, end=START + HOUR).status_code == 200
    refused = client.start(start=START, end=START + HOUR)
    assert (refused.status_code, "Retry-After" in refused.headers) == (status, False)
    emulator.refusal_retry_after = 7
    assert client.start().headers["Retry-After"] == "7"
    emulator.max_running_jobs = 3
    assert client.start(start=START, end=START + HOUR).status_code == 200
    assert client.start(start=START, end=START + HOUR).status_code == status
    client.finish(first)
    time.sleep(0.3)
    assert client.start(start=START, end=START + HOUR).status_code == 200
    assert len(emulator.jobs) == 4


def test_all_jobs_fail_in_an_outage_and_succeed_after_it(client: Client) -> None:
    emulator = client.emulator
    done = client.start(start=START, end=START + HOUR).json()["source"]
    assert client.finish(done) == "COMPLETE"
    emulator.job_seconds = 0.2
    running = client.start(start=START, end=START + HOUR).json()["source"]
    emulator.outage(0.5, after=0.05)
    assert client.poll(running).json()["status"] == "RUNNING"
    assert client.finish(running) == "FAILED"
    assert client.start(start=START, end=START + HOUR).json()["status"] == "FAILED"
    assert client.poll(done).json()["status"] == "COMPLETE"
    time.sleep(0.6)
    assert client.poll(running).json()["status"] == "FAILED"
    again = client.start(start=START, end=START + HOUR).json()["source"]
    assert client.finish(again) == "COMPLETE"
    assert client.link(again).ok


def test_starts_are_counted_by_window(client: Client) -> None:
    emulator = client.emulator
    for end in (START + 1, START + 2, START + 2):
        assert client.start(start=START, end=end).ok
    emulator.fault("start", "status")
    assert client.start(start=START, end=START + 1).status_code == 503
    emulator.fault("start", "drop", acted=True)
    with pytest.raises(requests.ConnectionError):
        client.start(start=START, end=START + 3)
    assert emulator.starts == Counter(
        {
            StartedWindow("TGAM", "WATCHLIST", START, START + 1): 1,
            StartedWindow("TGAM", "WATCHLIST", START, START + 2): 2,
            StartedWindow("TGAM", "WATCHLIST", START, START + 3): 1,
        }
    )


def test_responses_have_the_date_of_the_emulators_clock(client: Client) -> None:
    emulator = client.emulator
    link = client.export()
    for response in (client.get("/service/authenticate"), client.get("/x"), client.download(link)):
        assert parsedate_to_datetime(response.headers["Date"]).timestamp() == NOW // 1000
    emulator.advance(hours=1)
    response = client.get("/service/version")
    assert parsedate_to_datetime(response.headers["Date"]).timestamp() == (NOW + HOUR) // 1000
    emulator.fault("version", "status")
    assert "Date" in client.get("/service/version").headers
    emulator.date_header = False
    assert "Date" not in client.get("/service/version").headers


def test_without_a_rhythm_all_hours_are_alike_but_for_noise() -> None:
    emulator = Emulator(clock=lambda: NOW, events_per_hour=3000.0, rhythm="none")

    def counts() -> list[int]:
        hours = range(MONDAY, MONDAY + WEEK, HOUR)
        return [emulator.count("TGAM", "ALERT", hour, hour + HOUR) for hour in hours]

    assert all(2700 < count < 3300 for count in counts())
    emulator.hourly_noise = 0.3
    noisy = counts()
    assert min(noisy) < 2000
    assert max(noisy) > 4500
    assert noisy == counts()

"""The emulator's limits: events per export, jobs at once, outages, how long exports are kept."""

from __future__ import annotations

import time
from collections import Counter
from email.utils import parsedate_to_datetime
from math import exp

import pytest
import requests

from barchart_events_emulator import Emulator, StartedWindow
from tap_barchart_events.windows import HOUR
from tests.emulator_client import NOW, START, Client

NO_JOB = "EVENT_JOB_GET_FAILED_NO_JOB"
MONDAY = START - 4 * HOUR
WEEK = 7 * 24 * HOUR


def seconds_of(client: Client, hours: int) -> float:
    """Run a job to its end; return how long it took."""
    client.finish(client.start(start=START, end=START + hours * HOUR).json()["source"])
    job = client.emulator.jobs[-1]
    assert job.ended is not None
    return job.ended - job.started


def test_a_job_takes_a_fixed_time_and_a_time_for_each_event(client: Client) -> None:
    emulator = client.emulator
    emulator.job_variation, emulator.seconds_per_event = 0.0, 0.0001
    for hours in (0, 1, 5):
        took = seconds_of(client, hours)
        assert took == pytest.approx(0.02 + 0.0001 * (emulator.jobs[-1].count or 0))
    assert took > 0.15


def test_a_job_with_too_many_events_takes_a_multiple_of_the_time_of_the_largest(
    client: Client,
) -> None:
    emulator = client.emulator
    emulator.job_variation, emulator.seconds_per_event = 0.0, 0.0001
    emulator.max_events, emulator.too_large_factor = 200, 3.0
    assert seconds_of(client, 24) == pytest.approx(3 * (0.02 + 200 * 0.0001))
    assert emulator.jobs[-1].status == "TIMEOUT"


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


def test_a_job_is_kept_for_a_time_after_its_end(client: Client) -> None:
    client.emulator.keep_seconds = 0.3
    source = client.start(start=START, end=START + HOUR).json()["source"]
    assert client.finish(source) == "COMPLETE"
    assert client.link(source).ok
    time.sleep(0.35)
    for response in (client.poll(source), client.link(source)):
        assert response.json()[0]["value"]["code"] == NO_JOB


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


def test_a_working_week_has_the_weights_it_is_known_for() -> None:
    emulator = Emulator(clock=lambda: NOW, events_per_hour=3000.0, rhythm="working-week")
    weights = [
        (0.15 + 3 * exp(-(((hour % 24 - 15) / 3.5) ** 2))) * (0.25 if hour >= 120 else 1.0)
        for hour in range(168)
    ]
    mean = sum(weights) / 168
    for hour in (0, 15, 39, 100, 135, 159):
        start = MONDAY + hour * HOUR
        count = emulator.count("TGAM", "ALERT", start, start + HOUR)
        assert count == pytest.approx(3000 * weights[hour] / mean, rel=0.15), hour


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


def test_limits_can_be_changed_from_another_process(client: Client) -> None:
    emulator = client.emulator

    def call(path: str, body: object) -> int:
        url = f"{emulator.api_url}/emulator/{path}"
        return requests.post(url, json=body, timeout=5).status_code

    wrong_options: tuple[object, ...] = ({"max_event": 5}, {"quoting": "some"}, {"clock": 5}, [], 7)
    wrong_outages: tuple[object, ...] = ({}, {"seconds": "long"}, {"minutes": 1}, [])

    assert call("options", {"max_events": 5, "max_running_jobs": 0}) == 200
    assert (emulator.max_events, emulator.max_running_jobs) == (5, 0)
    assert client.start().status_code == 429
    assert [call("options", body) for body in wrong_options] == [400] * 5
    assert call("options", {"max_running_jobs": None}) == 200
    assert call("outage", {"seconds": 60}) == 200
    assert client.start().json()["status"] == "FAILED"
    assert [call("outage", body) for body in wrong_outages] == [400] * 4

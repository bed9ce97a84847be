"""The emulator over real HTTP: its calls, its strictness, its limits, its command."""

import json
import os
import re
import signal
import subprocess
import sys
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from barchart_events_emulator import Emulator
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import HOUR
from tests.emulator_client import NOW, START, Client, as_multiset, read

# The cycle


def test_a_job_runs_completes_and_its_link_leads_to_the_file(client: Client) -> None:
    emulator = client.emulator
    job = client.start(start=START, end=START + HOUR).json()
    assert job["status"] == "RUNNING"
    assert job["source"] == "JOB-" + job["job"]
    assert job["timing"] == {"day": "2019-11-24", "start": NOW}
    assert client.finish(job["source"]) == "COMPLETE"
    ended = client.poll(job["source"]).json()
    assert ended["timing"]["end"] >= ended["timing"]["start"]
    response = client.link(job["source"])
    assert response.status_code == 200
    link = response.json()["link"]
    assert link.startswith(emulator.storage_url)
    assert emulator.storage_url != emulator.api_url
    file = client.download(link)
    assert file.status_code == 200
    layout = PRODUCTS["WATCHLIST"].layouts[-1]
    # The end is inclusive at this service: the event on the edge is in both windows.
    expected = emulator.events("TGAM", "WATCHLIST", START, START + HOUR + 1)
    assert as_multiset(read(file.text, layout)) == as_multiset(expected)


def test_without_the_accept_header_the_link_comes_as_a_redirect(client: Client) -> None:
    source = client.start(start=START, end=START + 1).json()["source"]
    client.finish(source)
    response = client.get(f"/reports/{source}", follow=False)
    assert response.status_code == 302
    assert client.download(response.headers["Location"]).status_code == 200


def test_service_calls_return_version_and_user(client: Client) -> None:
    who = client.get("/service/authenticate").json()
    assert who["user"] == {"id": client.emulator.username}
    assert set(who["service"]) == {"version", "name", "description", "environment"}
    for path in ("/service/version", "/system/version"):
        assert requests.get(client.emulator.api_url + path, timeout=5).json()["service"]["version"]


def test_a_range_without_ends_is_the_day_up_to_now(client: Client) -> None:
    source = client.start().json()["source"]
    client.finish(source)
    job = client.emulator.jobs[-1]
    assert (job.start, job.end) == (NOW - 24 * HOUR, NOW)
    assert job.count == client.emulator.count("TGAM", "WATCHLIST", NOW - 24 * HOUR, NOW + 1)


def test_above_the_maximum_a_job_runs_longer_ends_timeout_and_has_no_link(client: Client) -> None:
    emulator = client.emulator
    emulator.job_variation, emulator.too_large_factor = 0.0, 3.0
    number = emulator.count("TGAM", "WATCHLIST", START, START + HOUR + 1)
    for maximum, status, seconds in ((number, "COMPLETE", 0.02), (number - 1, "TIMEOUT", 0.06)):
        emulator.max_events = maximum
        source = client.start(start=START, end=START + HOUR).json()["source"]
        assert client.finish(source) == status
        job = emulator.jobs[-1]
        assert job.ended is not None
        assert job.ended - job.started == pytest.approx(seconds)
    response = client.link(source)
    assert response.status_code == 500
    assert response.json()[0]["value"]["code"] == "EVENT_JOB_GET_FAILED"


# Strictness


@pytest.mark.parametrize("auth", [None, ("emulator", "wrong"), ("x", "loopback only")])
@pytest.mark.parametrize(
    "path", ["/reports", "/reports/JOB-1/availability", "/reports/JOB-1", "/service/authenticate"]
)
def test_without_the_right_credentials_every_call_is_refused(
    emulator: Emulator, path: str, auth: tuple[str, str] | None
) -> None:
    method = "POST" if path == "/reports" else "GET"
    response = requests.request(method, emulator.api_url + path, auth=auth, timeout=5)
    assert (response.status_code, response.json()) == (401, {"message": "Unauthorized"})


SOUND = {"customer": "TGAM", "product": "ALERT"}


@pytest.mark.parametrize(
    "body",
    [
        SOUND,
        [],
        {"filter": []},
        {"filter": {"customer": "TGAM"}},
        {"filter": {**SOUND, "customer": 7}},
        {"filter": {**SOUND, "product": ""}},
        {"filter": {**SOUND, "start": "1571029200000"}},
        {"filter": {**SOUND, "end": 1571029200000.5}},
        {"filter": {**SOUND, "start": True}},
        {"filter": {**SOUND, "start": 2, "end": 1}},
        {"filter": {**SOUND, "end": 2, "start": 1}},
        {"filter": {**SOUND, "start": 1, "types": ["ALERT-CREATED"]}},
        {"filter": {**SOUND, "types": "ALERT-CREATED"}},
        {"filter": {**SOUND, "types": []}},
        {"filter": {**SOUND, "limit": 5}},
        {"filter": SOUND, "page": 1},
        {"filter": SOUND, "output": {"delimiter": "||"}},
        {"filter": SOUND, "output": {"delimiter": '"'}},
        {"filter": SOUND, "output": "|"},
    ],
)
def test_a_start_that_is_not_as_documented_is_refused(client: Client, body: object) -> None:
    response = client.post(body)
    assert response.status_code == 500
    (error,) = response.json()
    assert error["value"]["code"] == "SCHEMA_VALIDATION_FAILURE"
    assert error["value"]["message"]
    assert error["children"] == []
    assert client.emulator.jobs == []


@pytest.mark.parametrize(("data", "kind"), [("{", "application/json"), ("{}", "text/plain")])
def test_a_start_that_is_no_json_is_refused(client: Client, data: str, kind: str) -> None:
    url = f"{client.emulator.api_url}/reports"
    response = client.session.post(url, data=data, headers={"Content-Type": kind}, timeout=5)
    assert response.status_code == 500
    assert response.json()[0]["value"]["code"] == "SCHEMA_VALIDATION_FAILURE"


def test_unknown_codes_are_no_mistake(client: Client) -> None:
    file = client.download(client.export(customer="NEW", product="NOVELTY", end=START + HOUR))
    columns = ("timestamp", "type", "userId", "item", "value")
    expected = client.emulator.events("NEW", "NOVELTY", START, START + HOUR + 1)
    assert as_multiset(read(file.text, columns)) == as_multiset(expected)
    none = client.download(client.export(types=["NO-SUCH-TYPE"]))
    assert (none.status_code, none.content) == (200, b"")


def test_unknown_jobs_and_early_links_get_the_documented_errors(client: Client) -> None:
    client.emulator.job_seconds = 100.0
    source = client.start().json()["source"]
    for response, code in (
        (client.link(source), "EVENT_JOB_GET_FAILED_RUNNING"),
        (client.link("JOB-unknown"), "EVENT_JOB_GET_FAILED_NO_JOB"),
        (client.poll("JOB-unknown"), "EVENT_JOB_GET_FAILED_NO_JOB"),
    ):
        assert response.status_code == 500
        assert response.json()[0]["value"]["code"] == code


def test_other_paths_and_verbs_are_refused(client: Client) -> None:
    url = client.emulator.api_url
    assert client.get("/report").status_code == 404
    assert client.get("/reports/").status_code == 404
    for method, path in (("GET", "/reports"), ("DELETE", "/reports/JOB-1")):
        response = client.session.request(method, url + path, timeout=5)
        assert response.status_code == 405


# Limits


def test_a_start_is_refused_while_as_many_jobs_run_as_may(client: Client) -> None:
    emulator = client.emulator
    emulator.job_seconds, emulator.job_variation, emulator.max_running_jobs = 0.3, 0.0, 2
    responses = [client.start(start=START, end=START + HOUR) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    client.finish(responses[1].json()["source"])
    assert client.start(start=START, end=START + HOUR).status_code == 200
    assert len(emulator.jobs) == 3


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


# What it keeps and how it runs


def test_requests_are_noted_without_their_secrets(client: Client) -> None:
    emulator = client.emulator
    client.download(client.export(), Range="bytes=0-9")
    first, *polls, last, final = [seen.call for seen in emulator.requests]
    assert (first, {*polls}, last, final) == ("start", {"poll"}, "link", "download")
    start, download = emulator.requests[0], emulator.requests[-1]
    assert (start.host, start.method, start.path) == ("api", "POST", "/reports")
    assert start.authorization == "Basic"
    assert start.body["filter"]["product"] == "WATCHLIST"
    assert (start.status, download.status) == (200, 206)
    assert (download.host, download.authorization) == ("storage", None)
    assert download.headers["range"] == "bytes=0-9"
    assert start.at < download.at
    assert "Signature" not in repr(emulator.requests)
    job = emulator.jobs[0]
    assert job.ended is not None
    assert job.ended >= job.started


def test_a_stopped_emulator_comes_back_on_the_same_ports(client: Client) -> None:
    emulator = client.emulator
    url = emulator.api_url
    emulator.stop()
    with pytest.raises(requests.ConnectionError):
        client.get("/service/version")
    emulator.start()
    assert emulator.api_url == url
    assert client.get("/service/version").ok


COMMAND = (sys.executable, "-m", "barchart_events_emulator")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_answers_and_ends_quietly(number: signal.Signals) -> None:
    flags = ["--seed", "8", "--header", "--newline", r"\r\n", "--now", "2019-11-25T00:00:00Z"]
    flags += ["--fault", "authenticate:status:code=502:times=1", "--added-column", "betaGroup"]
    flags += ["--username", "me", "--job-seconds", "0"]
    flags += ["--max-running-jobs", "9", "--no-date-header", "--rhythm", "none"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, *flags], stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        emulator = Emulator(seed=8, username="me")
        emulator.port = int(ready["api_url"].rpartition(":")[2])
        client = Client(emulator)
        with client.session:
            codes = [client.get("/service/authenticate").status_code for _ in range(2)]
            end = 1_574_640_000_000
            file = client.download(client.export(end - HOUR, end + HOUR, product="ALERT")).text
        process.send_signal(number)
        out, err = process.communicate(timeout=5)
    assert (process.returncode, out) == (0, "")
    assert re.fullmatch(rf"The emulated service runs at {ready['api_url']}\..* Ctrl-C .*\n", err)
    assert codes == [502, 200]
    header, *rows = file.split("\r\n")
    assert header == "timestamp|type|userId|betaGroup|alertId|symbol"
    assert len(rows) > 100
    assert all(end - HOUR <= int(row[:13]) <= end + 60_000 for row in rows if row)


def failed(*flags: str, code: int, folder: Path | None = None) -> str:
    """Run the command, which has to end with a code, and return the last line of its stderr."""
    command = [*COMMAND, *flags]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_port_in_use_is_one_sentence() -> None:
    with Emulator() as other:
        last = failed("--port", str(other.port), code=1)
    assert last.endswith("the port is in use; end the other emulator, or set --port")


def test_the_command_writes_settings_with_which_the_tap_runs(tmp_path: Path) -> None:
    flags = ("--verbose", "--env-file", ".env", "--events-per-hour", "5", "--job-seconds", "0")
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*COMMAND, *flags], cwd=tmp_path, **options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        assert "with settings of the tap in .env. Run the tap in a sec" in process.stderr.readline()
        tap = subprocess.run(
            [sys.executable, "-m", "tap_barchart_events", "--config=ENV"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            check=False,
        )
        assert ".env exists" in failed(*flags, code=2, folder=tmp_path)
        process.terminate()
        requests = process.stderr.read()

    assert tap.returncode == 0, tap.stderr
    assert re.search(
        r'^[\d:]{8} start POST /reports \{"customer": "TGAM".* -> 200$', requests, re.MULTILINE
    )
    assert re.search(r"^[\d:]{8} download GET /exports/\S+ -> 200$", requests, re.MULTILINE)
    assert Emulator.password not in requests
    assert 100 < tap.stdout.count(b'"type":"RECORD"') < 2_000


@pytest.mark.parametrize("flags", ["--fault poll:nothing", "--quoting some", "--now x"])
def test_the_command_refuses_what_it_does_not_know(flags: str) -> None:
    assert "error: " in failed(*flags.split(), code=2)


@pytest.mark.parametrize("program", ["barchart-events-emulator", "a_test.py"])
def test_an_emulator_without_its_extra_names_it_and_its_command_says_nothing_else(
    tmp_path: Path, program: str
) -> None:
    without = "import sys; sys.modules['starlette'] = None; import barchart_events_emulator"
    (tmp_path / program).write_text(without, encoding="utf-8")
    command = [sys.executable, str(tmp_path / program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    *before, last = done.stderr.splitlines()
    assert "the emulator needs starlette, which the extra emulator of tap-barchart-events" in last
    assert bool(before) == program.endswith(".py")

"""Secrets and hosts: what never appears anywhere, and who never gets credentials."""

import base64
import json
import logging
import select
import socket
import stat
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from re import findall
from typing import Any

import pytest
import trustme

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.windows import from_iso
from tests.raw_server import RawServer, http
from tests.tap_runs import Run, Tap, hour, settings_of, sync, synced

PASSWORD = "s3cret-pässword"  # noqa: S105 - of an emulator, and to be looked for
FILE = b"1772409600000|WATCHLIST-CREATED|u||||||\n"

EMULATOR = {"password": PASSWORD}


@pytest.fixture
def settings(service: Emulator, hardly_waiting: None) -> dict[str, Any]:
    """Return the settings for one file, which is asked for twice at most."""
    more = {"max_retries": 1, "request_timeout_seconds": 2}
    return settings_of(service, end_date=hour(1), **more)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Let all loggers log all they can; return a function that returns it.

    What the emulator's server logs in this process is left out.
    """
    for name in ["", *logging.root.manager.loggerDict]:
        caplog.set_level(logging.DEBUG, logger=name)
    format_record = logging.Formatter().format
    return lambda: "\n".join(
        format_record(record) for record in caplog.records if not record.name.startswith("uvicorn")
    )


def everything_about(error: BaseException | None) -> str:
    """Return an error and all that it remembers, suppressed or not."""
    text = "".join(traceback.format_exception(error)) if error else ""
    while error is not None:
        text += f"{error!r} {error} {error.args} {vars(error)}\n"
        error = error.__context__ or error.__cause__
    return text


def check_for_secrets(service: Emulator, *texts: str) -> None:
    """Check that no text holds a secret."""
    secrets = [
        PASSWORD,
        PASSWORD.encode("unicode_escape").decode(),
        base64.b64encode(f"{service.username}:{PASSWORD}".encode()).decode(),
        "Authorization",
        "X-Amz-Signature=",
        "SECRET-SIGNATURE",
        *service.links._given,  # noqa: SLF001 - the signatures themselves
    ]
    for text in texts:
        for secret in secrets:
            assert secret not in text, text[max(0, text.index(secret) - 500) :][:1000]


# What a process writes ------------------------------------------------------------------------


STRUCTURED = """
version: 1
disable_existing_loggers: false
formatters: {structured: {(): singer_sdk.logging.StructuredFormatter}}
handlers: {default: {class: logging.StreamHandler, formatter: structured, stream: ext://sys.stderr}}
root: {level: DEBUG, handlers: [default]}
"""
"""A logging configuration with the SDK's formatter for machines: it logs suppressed errors, too."""


def structured(folder: Path) -> dict[str, str]:
    """Return the environment variable that names this configuration."""
    (folder / "log.yaml").write_text(STRUCTURED, encoding="utf-8")
    return {"SINGER_SDK_LOG_CONFIG": str(folder / "log.yaml")}


@pytest.mark.parametrize("log", ["debug", "structured"])
def test_a_run_logs_no_secret_at_any_level(
    service: Emulator, run: Run, tmp_path: Path, log: str
) -> None:
    for call in ("start", "poll", "link", "download"):
        for kind in ("drop", "cut", "html", "status"):
            service.fault(call, kind, after=1)
    service.fault("link", "link-seconds")
    service.fault("download", "expire", at=100)
    service.fault("download", "drop", times=None, after=1)
    environ = {"TAP_BARCHART_EVENTS_LOGLEVEL": "DEBUG", "LOGLEVEL": "DEBUG"}
    if log == "structured":
        environ |= structured(tmp_path)
    outcome = run(None, 1, {"environ": environ}, max_retries=2)
    assert outcome.log.upper().count("DEBUG") > 3
    assert "attempt 2 of 3" in outcome.log
    assert "Traceback of the error" in outcome.log
    assert "gave up after 3 tries" in outcome.log.splitlines()[-1]
    check_for_secrets(service, outcome.log, outcome.written.decode())


@pytest.mark.parametrize(
    ("row", "maps"),
    [("1772409600000|WATCHLIST-CREATED|planted", {}), ("", {"events": {"n": "float(user_id)"}})],
    ids=["a row cut short", "an expression that fails"],
)
def test_no_row_comes_into_the_log_with_an_error(
    service: Emulator, run: Run, tmp_path: Path, row: str, maps: dict[str, Any]
) -> None:
    service.fault("download", "body", body=FILE.replace(b"|u|", b"|planted|") + row.encode())
    options = {"environ": structured(tmp_path)}
    outcome = run(None, 1, options, end_date=hour(1), stream_maps=maps)
    assert "Traceback of the error" in outcome.log
    assert "planted" not in outcome.log


def test_the_transcript_has_a_line_for_each_response_and_file_and_no_value(
    service: Emulator, run: Run
) -> None:
    """Values, names of columns and types, and headers that say who did what are in no line."""
    planted = {
        "userId": "Zoë Planted",
        "watchlistId": f"planted {PASSWORD}",
        "symbol": "https://planted.example/p?X-Amz-Signature=planted",
        "plantedColumn": "",
    }
    service.username = "planted@example.org"
    service.header, service.columns = True, {"WATCHLIST": ("timestamp", "type", *planted)}
    service.source = lambda *window: [
        Event(from_iso(hour(number)), kind, planted)
        for number in range(4)
        for kind in ("WATCHLIST-CREATED", "PLANTED-TYPE")
        if window[2] <= from_iso(hour(number)) < window[3]
    ]
    times = (str(from_iso(hour(number))) for number in range(4))  # it may be any window's file
    rows = [["timestamp", "type", *planted]]
    rows += ([time, "PLANTED-X", *planted.values()] for time in times)
    file = http(
        "\n".join(map("|".join, rows)).encode(),
        Content_Type="text/planted",
        ETag='"planted"',
        X_Planted="planted",
    )
    with RawServer() as store:
        store.responses["other"] = lambda *_: file
        service.fault("link", "link", link=store.link)
        refusal: dict[str, Any] = {"code": "SlowDown", "message": "planted", "status": 503}
        service.fault("download", "storage-error", **refusal)
        service.fault("download", "form", after=1, form="gzip")
        outcome = run(None, 0, {"environ": {"TAP_BARCHART_EVENTS_LOGLEVEL": "DEBUG"}})
        assert len(store.requests) == 1
    assert {record["user_id"] for record in outcome.records} == {"Zoë Planted"}

    log = outcome.log
    assert "planted" not in log.lower()
    assert "example.org" not in log
    check_for_secrets(service, log)
    calls = Counter(request.call for request in service.requests)
    calls["download"] += len(store.requests) - 1
    assert 'response to download: 503 {"Date"' in log
    assert "| code of object storage: SlowDown\n" in log
    assert len(findall(r"\| file of job \S+: came as gzip; \d+ bytes, begins", log)) == 1
    assert len(calls) == 5
    for call, count in calls.items():
        assert log.count(f"| response to {call}: 200 {{") == count
    assert 'response to start: 200 {"Date": ' in log
    for job in service.jobs:
        assert log.count(f"| file of job {job.source}: ") == 1
    forms = "timestamp|type|userId|watchlistId|symbol|aaaaaaaaaaaaa", "9999999999999|aaaaaaa-aaaa|"
    assert all(form in log for form in forms)


@pytest.mark.parametrize(
    ("call", "kind", "details"),
    [
        ("start", "drop", {}),
        ("poll", "cut", {}),
        ("link", "malformed", {}),
        ("link", "link", {"link": "http://example.invalid/f?X-Amz-Signature=abc"}),
        ("link", "link", {"link": "https://127.0.0.1:1/f?X-Amz-Signature=abc"}),
        ("link", "link", {"link": "https://[127.0.0.1/f?X-Amz-Signature=abc"}),
        ("link", "link", {"link": "https://127.0.0.1:port/f?X-Amz-Signature=abc"}),
        ("link", "link", {"link": "https://a..b/f?X-Amz-Signature=abc"}),
        ("link", "shape", {"value": {"links": "https://x/f?X-Amz-Signature=abc"}}),
        ("link", "redirect", {"location": "https://127.0.0.1:1/f?X-Amz-Signature=abc"}),
        ("download", "drop", {}),
        ("download", "drop-headers", {}),
        ("download", "cut", {}),
        ("download", "cut", {"chunked": True}),
        ("download", "stall", {}),
        ("download", "redirect", {"location": "http://[bad/?X-Amz-Signature=abc"}),
        ("download", "redirect", {"location": "https://127.0.0.1:1/?X-Amz-Signature=abc"}),
        ("download", "status", {"code": 400}),
        ("download", "html", {}),
        ("download", "body", {"body": b"rubbish"}),
        ("download", "expire", {}),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("hardly_waiting")
def test_an_error_holds_no_secret_however_deep(
    service: Emulator, logged: Callable[[], str], call: str, kind: str, details: dict[str, Any]
) -> None:
    service.fault(call, kind, times=None, **details)
    outcome = sync(
        settings_of(service, max_retries=1, request_timeout_seconds=0.3, max_concurrent_jobs=1)
    )
    assert outcome.error is not None
    written = json.dumps(outcome.messages)
    check_for_secrets(service, everything_about(outcome.error), logged(), written)


def test_headers_that_cannot_be_read_do_not_bring_the_link_into_the_log(
    service: Emulator, settings: dict[str, Any], logged: Callable[[], str]
) -> None:
    with RawServer() as store:
        store.responses["other"] = lambda *_: http(Good="one\r\nno header: \r\n bad")
        service.fault("link", "link", times=None, link=store.link)
        sync(settings)
        assert store.requests
    check_for_secrets(service, logged())


def test_names_and_modes_of_temporary_files(service: Emulator, tmp_path: Path) -> None:
    service.throttle = 1000
    tap = Tap(tmp_path, settings_of(service))
    tap.wait_for(lambda: any("export-" in name for name in tap.left_behind))
    check_for_secrets(service, *tap.left_behind)
    for path in tap.temporary.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600)
    tap.process.terminate()
    tap.end()


# Who gets credentials ------------------------------------------------------------------------


def credentials(service: Emulator, host: str) -> set[str | None]:
    """Return what requests to a host had as credentials."""
    return {request.authorization for request in service.requests if request.host == host}


def test_netrc_is_not_for_object_storage_nor_for_the_api(
    service: Emulator, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login some password thing\ndefault login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    synced(settings)
    assert credentials(service, "storage") == {None}
    assert credentials(service, "api") == {"Basic"}


def test_no_redirect_takes_credentials_along(service: Emulator, settings: dict[str, Any]) -> None:
    service.fault("link", "redirect", times=None)
    synced(settings)
    assert credentials(service, "storage") == {None}

    # Not even back to the API, which would know them.
    service.fault("download", "redirect", times=None)
    assert "404" in sync(settings).reason
    there = [request for request in service.requests if request.path == "/elsewhere"]
    assert {request.authorization for request in there} == {None}


@pytest.mark.parametrize(
    ("where", "said", "requests"),
    [
        ("http://example.invalid/file", "the link is not https", 1),
        ("//example.invalid/file", "the link is not https", 1),
        ("ftp://127.0.0.1/file", "the link is not https", 1),
        ("file:///x", "the link is not https", 1),
        ("/again", "redirects too often", 10),
    ],
)
def test_a_redirect_to_what_is_not_safe_or_has_no_end_is_not_followed(
    service: Emulator, settings: dict[str, Any], where: str, said: str, requests: int
) -> None:
    with RawServer() as store:
        store.responses["other"] = lambda *_: http(b"", "307 Temporary Redirect", Location=where)
        service.fault("link", "link", times=None, link=store.link)
        assert said in sync(settings).reason
        assert 1 <= len(store.requests) <= requests


# TLS and proxies -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def store(service: Emulator, authority: trustme.CA, tmp_path: Path) -> Iterator[RawServer]:
    """Return an object storage with TLS, where the service's links lead."""
    certificate = tmp_path / "server.pem"
    issued = authority.issue_cert("127.0.0.1", "storage.example")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    with RawServer(certificate) as store:
        store.responses["other"] = lambda *_: http(FILE)
        service.fault("link", "link", times=None, link=store.link)
        yield store


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))


def test_a_certificate_that_cannot_be_verified_ends_it_at_once(
    service: Emulator, settings: dict[str, Any], store: RawServer
) -> None:
    outcome = sync(settings)
    assert "TLS certificate of 127.0.0.1 cannot be verified" in outcome.reason
    check_for_secrets(service, everything_about(outcome.error))
    assert store.requests == []
    assert sum(request.call == "link" for request in service.requests) == 1


@pytest.mark.usefixtures("trusted")
def test_credentials_of_a_proxy_are_for_the_proxy(
    service: Emulator, settings: dict[str, Any], store: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.clear_faults()
    link = store.link.replace("127.0.0.1", "storage.example")
    service.fault("link", "link", times=None, link=link)
    received: list[str] = []
    with tunnel(received) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://someone:for-the-proxy@127.0.0.1:{port}")
        assert len(synced(settings).records) == 1
    token = base64.b64encode(b"someone:for-the-proxy").decode()
    assert f"Proxy-Authorization: Basic {token}" in received[0]
    assert "SECRET-SIGNATURE" not in received[0]
    (request,) = store.requests
    names = {name.lower() for name in request.headers}
    assert names <= {"host", "user-agent", "accept-encoding", "accept", "connection"}


@contextmanager
def tunnel(received: list[str]) -> Iterator[int]:
    """Run a proxy that opens one tunnel, to this machine whatever host is named; yield its port."""

    def serve() -> None:
        near, _ = listening.accept()
        with near:
            received.append(near.recv(65536).decode())
            port = int(received[0].split()[1].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as far:
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                other = {near: far, far: near}
                while data := (ready := select.select([near, far], [], [], 10)[0][0]).recv(65536):
                    other[ready].sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(10)

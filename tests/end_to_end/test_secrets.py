"""Secrets and hosts: what never appears anywhere, and who never gets credentials."""

from __future__ import annotations

import base64
import json
import logging
import select
import socket
import stat
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml

from barchart_events_emulator import Emulator
from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.api.http import RetryPolicy
from tap_barchart_events.exceptions import ServiceError
from tests.object_store import ObjectStore, Response
from tests.tap_runs import Tap, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "s3cret-pässword"  # noqa: S105 - of an emulator, and to be looked for
QUICK = RetryPolicy(attempts=2, wait_initial=0.01)


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(password=PASSWORD, job_seconds=0.02, events_per_hour=60) as emulator:
        yield emulator


@pytest.fixture
def client(service: Emulator) -> Iterator[ReportsClient]:
    stopped = threading.Event()
    client = ReportsClient(
        service.api_url, service.username, PASSWORD, stopped=stopped, timeout=2, retry=QUICK
    )
    yield client
    client.close()


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Let all loggers tell all that they have to say."""
    for name in ["", *logging.root.manager.loggerDict]:
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def all_logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return what was logged, but for what the emulator's server says in this process."""
    formatter = logging.Formatter()
    records = [record for record in caplog.records if not record.name.startswith("uvicorn")]
    return "\n".join(formatter.format(record) for record in records)


def finished_job(client: ReportsClient) -> str:
    job = client.start(customer="TGAM", product="WATCHLIST", start=0, end=3_600_000)
    while job.status == "RUNNING":
        job = client.poll(job.source)
    return job.source


def secrets_of(service: Emulator) -> list[str]:
    """Return all that must not appear."""
    basic = base64.b64encode(f"{service.username}:{PASSWORD}".encode()).decode()
    return [
        PASSWORD,
        PASSWORD.encode("unicode_escape").decode(),
        basic,
        "Authorization",
        "X-Amz-",
        "SECRET-SIGNATURE",
        *service.links._given,  # noqa: SLF001 - the signatures themselves
    ]


def check_for_secrets(service: Emulator, text: str) -> None:
    """Check that a text holds none."""
    for secret in secrets_of(service):
        assert secret not in text, text[max(0, text.index(secret) - 500) :][:1000]


# What a process tells ------------------------------------------------------------------------


@pytest.mark.parametrize("log", ["debug", "structured"])
def test_a_run_logs_no_secret_at_any_level(service: Emulator, tmp_path: Path, log: str) -> None:
    for call in ("start", "poll", "link", "download"):
        for kind in ("drop", "cut", "html", "status"):
            service.fault(call, kind, after=1)
    service.fault("link", "link-seconds")
    service.fault("download", "expire", at=100)
    service.fault("download", "drop", times=None, after=1)
    environ = {"TAP_BARCHART_EVENTS_LOGLEVEL": "DEBUG", "LOGLEVEL": "DEBUG"}
    if log == "structured":
        environ["SINGER_SDK_LOG_CONFIG"] = str(structured_logging(tmp_path))
    outcome = Tap(tmp_path, settings_of(service, max_retries=2), environ=environ).end()
    assert outcome.code == 1, outcome.log[-3000:]
    assert outcome.log.upper().count("DEBUG") > 3
    assert "try 2 of 3" in outcome.log
    assert "Traceback of the error" in outcome.log
    check_for_secrets(service, outcome.log)
    check_for_secrets(service, outcome.written.decode())


def structured_logging(folder: Path) -> Path:
    """Write a logging configuration with the SDK's formatter for machines."""
    path = folder / "logging.yaml"
    handler = {
        "class": "logging.StreamHandler",
        "formatter": "structured",
        "stream": "ext://sys.stderr",
    }
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": {"()": "singer_sdk.logging.StructuredFormatter"}},
        "handlers": {"default": handler},
        "root": {"level": "DEBUG", "handlers": ["default"]},
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


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
    service: Emulator,
    everything_logged: pytest.LogCaptureFixture,
    call: str,
    kind: str,
    details: dict[str, Any],
) -> None:
    service.fault(call, kind, times=None, **details)
    outcome = sync(
        settings_of(service, max_retries=1, request_timeout_seconds=0.3, max_concurrent_jobs=1)
    )
    assert outcome.error is not None
    check_for_secrets(service, "".join(traceback.format_exception(outcome.error)))
    check_for_secrets(service, everything_about(outcome.error))
    check_for_secrets(service, all_logged(everything_logged))
    check_for_secrets(service, json.dumps(outcome.messages))


def everything_about(error: BaseException | None) -> str:
    """Return an error and all that it remembers, suppressed or not."""
    text = ""
    while error is not None:
        text += f"{error!r} {error} {error.args} {vars(error)}\n"
        error = error.__context__ or error.__cause__
    return text


def test_headers_that_cannot_be_read_do_not_bring_the_link_into_the_log(
    service: Emulator,
    client: ReportsClient,
    tmp_path: Path,
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    source = finished_job(client)
    response = Response(200, {"Good": "one\r\nno header: \r\n bad", "Content-Length": "0"})
    with ObjectStore(lambda _: response) as store:
        service.fault("link", "link", times=None, link=store.link)
        with suppress(ServiceError):
            client.download(source, tmp_path / "file")
        assert store.received
    check_for_secrets(service, all_logged(everything_logged))


def test_names_and_modes_of_temporary_files(service: Emulator, tmp_path: Path) -> None:
    service.throttle = 1000
    tap = Tap(tmp_path, settings_of(service))
    while not any("export-" in name for name in tap.left_behind):
        assert tap.process.poll() is None
        time.sleep(0.01)
    check_for_secrets(service, "\n".join(tap.left_behind))
    for path in tap.temporary.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600)
    tap.process.terminate()
    tap.end()


# Who gets credentials ------------------------------------------------------------------------


def test_netrc_is_not_for_object_storage_nor_for_the_api(
    service: Emulator, client: ReportsClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login some password thing\ndefault login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client.download(finished_job(client), tmp_path / "file")
    downloads = [request for request in service.requests if request.host == "storage"]
    assert [request.authorization for request in downloads] == [None]
    assert all(r.authorization == "Basic" for r in service.requests if r.host == "api")


def test_no_redirect_of_a_download_takes_credentials_along(
    service: Emulator, client: ReportsClient, tmp_path: Path
) -> None:
    # Even back to the API, which would know them.
    service.fault("download", "redirect", times=None)
    with pytest.raises(ServiceError, match="404"):
        client.download(finished_job(client), tmp_path / "file")
    there = [request for request in service.requests if request.path == "/elsewhere"]
    assert there
    assert {request.authorization for request in there} == {None}


def test_a_redirect_of_the_link_call_takes_no_credentials_along(
    service: Emulator, client: ReportsClient, tmp_path: Path
) -> None:
    service.fault("link", "redirect", times=None)
    client.download(finished_job(client), tmp_path / "file")
    assert {r.authorization for r in service.requests if r.host == "storage"} == {None}


@pytest.mark.parametrize(
    "where",
    ["http://example.invalid/file", "//example.invalid/file", "ftp://127.0.0.1/file", "file:///x"],
)
def test_a_redirect_to_what_is_not_safe_is_not_followed(
    service: Emulator, client: ReportsClient, tmp_path: Path, where: str
) -> None:
    with ObjectStore(lambda _: Response(307, {"Location": where, "Content-Length": "0"})) as store:
        service.fault("link", "link", link=store.link)
        with pytest.raises(ServiceError, match="the link is not https; nothing was sent there"):
            client.download(finished_job(client), tmp_path / "file")
        assert len(store.received) == 1


def test_redirects_without_end_end(
    service: Emulator, client: ReportsClient, tmp_path: Path
) -> None:
    with ObjectStore(
        lambda _: Response(302, {"Location": "/again", "Content-Length": "0"})
    ) as store:
        service.fault("link", "link", times=None, link=store.link)
        with pytest.raises(ServiceError, match="redirects too often"):
            client.download(finished_job(client), tmp_path / "file")
        assert len(store.received) <= 5 * QUICK.attempts


# TLS and proxies -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def store(authority: trustme.CA, tmp_path: Path) -> Iterator[ObjectStore]:
    certificate = tmp_path / "server.pem"
    issued = authority.issue_cert("127.0.0.1", "storage.example")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    response = Response(200, {"Content-Length": "5"}, b"hello")
    with ObjectStore(lambda _: response, certificate) as store:
        yield store


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))


def test_a_certificate_that_cannot_be_verified_ends_it_at_once(
    service: Emulator, client: ReportsClient, store: ObjectStore, tmp_path: Path
) -> None:
    service.fault("link", "link", times=None, link=store.link)
    why = "TLS certificate of 127\\.0\\.0\\.1 cannot be verified"
    with pytest.raises(ServiceError, match=why) as caught:
        client.download(finished_job(client), tmp_path / "file")
    check_for_secrets(service, everything_about(caught.value))
    assert store.received == []
    assert sum(request.call == "link" for request in service.requests) == 1


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_a_trusted_authority_is_accepted(
    service: Emulator, client: ReportsClient, store: ObjectStore, tmp_path: Path
) -> None:
    service.fault("link", "link", times=None, link=store.link)
    client.download(finished_job(client), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"hello"


@pytest.mark.usefixtures("trusted")
def test_credentials_of_a_proxy_are_for_the_proxy(
    service: Emulator,
    client: ReportsClient,
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = store.link.replace("127.0.0.1", "storage.example")
    service.fault("link", "link", times=None, link=link)
    source = finished_job(client)
    received: list[str] = []
    with tunnel(received) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://someone:for-the-proxy@127.0.0.1:{port}")
        client.download(source, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"hello"
    token = base64.b64encode(b"someone:for-the-proxy").decode()
    assert f"Proxy-Authorization: Basic {token}" in received[0]
    assert "SECRET-SIGNATURE" not in received[0]
    (request,) = store.received
    assert set(request.headers) <= {"host", "user-agent", "accept-encoding", "accept", "connection"}


class tunnel:  # noqa: N801 - used as a statement
    """A proxy that makes one tunnel, to this machine whatever host is named."""

    def __init__(self, received: list[str]) -> None:
        """Listen; each request is added to ``received``."""
        self._received = received
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._listening.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listening.close()

    def _serve(self) -> None:
        near, _ = self._listening.accept()
        with near:
            request = near.recv(65536).decode()
            self._received.append(request)
            port = request.split()[1].rpartition(":")[2]
            with socket.create_connection(("127.0.0.1", int(port))) as far:
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _pass_on(near, far)


def _pass_on(near: socket.socket, far: socket.socket) -> None:
    other = {near: far, far: near}
    while True:
        for ready in select.select([near, far], [], [], 10)[0]:
            data = ready.recv(65536)
            if not data:
                return
            other[ready].sendall(data)

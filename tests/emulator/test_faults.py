"""The emulator's faults: when they apply, and effects that the tests of the tap do not show.

``tests/end_to_end/test_faults.py`` meets every kind of fault in every call.
"""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from barchart_events_emulator import KINDS, Emulator
from tap_barchart_events.windows import HOUR
from tests.emulator_client import START, Client


def test_a_fault_applies_when_it_is_due_and_no_longer(client: Client) -> None:
    client.emulator.fault("authenticate", "status", after=1, times=2, every=2, code=502)
    responses = [client.get("/service/authenticate").status_code for _ in range(7)]
    assert responses == [200, 502, 200, 502, 200, 200, 200]
    client.emulator.fault("authenticate", "status", times=None)
    assert client.get("/service/authenticate").status_code == 503
    client.emulator.clear_faults()
    assert client.get("/service/authenticate").status_code == 200


def test_a_fault_for_a_product_leaves_the_calls_about_others_alone(client: Client) -> None:
    links = {product: client.export(product=product) for product in ("ALERT", "WATCHLIST")}
    jobs = [job.source for job in client.emulator.jobs]
    for call in ("start", "poll", "link", "download"):
        client.emulator.fault(call, "status", times=None, code=403, for_product="ALERT")
    for (product, link), source in zip(links.items(), jobs, strict=True):
        expected = 403 if product == "ALERT" else 200
        assert client.poll(source).status_code == expected
        assert client.link(source).status_code == expected
        assert client.download(link).status_code == expected
        query = {"product": product, "start": START, "end": START + HOUR}
        assert (client.start(**query).status_code == 403) == (expected == 403)


@pytest.mark.parametrize(
    ("call", "kind", "details"),
    [("stop", "drop", {}), ("poll", "bomb", {}), ("poll", "drop", {"at": 5})],
)
def test_a_fault_that_is_unknown_is_refused(call: str, kind: str, details: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="there are"):
        Emulator().fault(call, kind, **details)


@pytest.mark.parametrize("call", ["start", "poll", "link", "download", "authenticate"])
@pytest.mark.parametrize("code", [401, 403, 429, 500, 502, 503, 504])
def test_error_statuses_come_with_and_without_retry_after(
    client: Client, call: str, code: int
) -> None:
    requester = _requester(client, call)
    fault = client.emulator.fault
    fault(call, "status", code=code)
    response = requester()
    assert (response.status_code, "Retry-After" in response.headers) == (code, False)
    fault(call, "status", code=code, retry_after=7, body="empty")
    response = requester()
    assert (response.headers["Retry-After"], response.content) == ("7", b"")
    client.emulator.advance(hours=-5)
    fault(call, "status", code=code, retry_after=60, as_date=True, body="html")
    response = requester()
    until, now = (parsedate_to_datetime(response.headers[h]) for h in ("Retry-After", "Date"))
    assert 50 < (until - now).total_seconds() < 70
    assert "<html>" in response.text
    assert requester().ok


def _requester(client: Client, call: str) -> Callable[[], requests.Response]:
    """Return a function that makes one sound request of the call."""
    link = client.export()
    source = client.emulator.jobs[-1].source
    return {
        "start": lambda: client.start(start=START, end=START + HOUR),
        "poll": lambda: client.poll(source),
        "link": lambda: client.link(source),
        "download": lambda: client.download(link),
        "authenticate": lambda: client.get("/service/authenticate"),
        "version": lambda: client.get("/service/version"),
    }[call]


@pytest.mark.parametrize("call", sorted(KINDS))
@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("drop", {}),
        ("drop", {"acted": True}),
        ("drop-headers", {}),
        ("cut", {}),
        ("cut", {"chunked": True}),
        ("cut", {"at": 3}),
        ("stall", {}),
        ("stall", {"at": 3}),
    ],
    ids=repr,
)
def test_a_connection_can_break_anywhere_in_any_call(
    client: Client, call: str, kind: str, details: dict[str, Any]
) -> None:
    requester = _requester(client, call)
    whole = requester().content
    jobs = len(client.emulator.jobs)
    fault = client.emulator.fault(call, kind, **details)
    if kind == "stall":
        client.timeout = 0.1
    if kind == "drop-headers":
        # What makes it vicious: some clients take it for a whole response without a body.
        assert requester().content == b""
    else:
        with pytest.raises(requests.RequestException):
            requester()
    assert fault.hits == 1
    if call == "start" and kind == "drop":
        assert len(client.emulator.jobs) - jobs == (1 if details else 0)
    client.timeout = 10.0
    assert len(requester().content) == len(whole)


def test_a_link_can_run_out_in_the_middle_of_a_download(client: Client) -> None:
    link = client.export()
    data = client.download(link).content
    client.emulator.fault("download", "expire", at=500)
    with pytest.raises(requests.RequestException):
        client.download(link)
    rest = client.download(link, Range="bytes=500-")
    assert (rest.status_code, "Request has expired" in rest.text) == (403, True)
    new = client.link(client.emulator.jobs[-1].source).json()["link"]
    assert client.download(new, Range="bytes=500-").content == data[500:]
    client.emulator.fault("download", "expire")
    assert client.download(new).status_code == 403
    assert client.download(new).status_code == 403


def test_a_file_can_become_another_between_two_requests(client: Client) -> None:
    link = client.export()
    whole = client.download(link)
    etag, data = whole.headers["ETag"], whole.content
    cases: list[dict[str, Any]] = [{"at": 500}, {}]
    for details in cases:
        client.emulator.fault("download", "etag", **details)
        if details:
            with pytest.raises(requests.RequestException):
                client.download(link)
        response = client.download(link, Range="bytes=500-", **{"If-Range": etag})
        assert (response.status_code, response.content) == (200, data)
        assert response.headers["ETag"] != etag
        etag = response.headers["ETag"]


TYPES = ["WATCHLIST-CREATED"]
ASKED = {
    "customer": "TGAM",
    "product": "WATCHLIST",
    "types": TYPES,
    "start": START,
    "end": START + HOUR,
}


def test_a_job_can_have_its_filter_with_numbers_as_strings(client: Client) -> None:
    client.emulator.numbers_as_strings = True
    job = client.start(types=TYPES, start=START, end=START + HOUR).json()
    assert job["filter"] == {**ASKED, "start": str(START), "end": str(START + HOUR)}


@pytest.mark.parametrize(
    "details",
    [{"customer": "BARCHART"}, {"start": 0, "end": 1}, {"types": ["A"]}, {"left_out": ["types"]}],
)
@pytest.mark.parametrize("call", ["start", "poll"])
def test_a_job_can_have_another_filter(client: Client, call: str, details: dict[str, Any]) -> None:
    client.emulator.fault(call, "filter", **details)
    absent = details.get("left_out", ())
    echoed = {key: details.get(key, ASKED[key]) for key in ASKED if key not in absent}
    job = client.start(types=TYPES, start=START, end=START + HOUR).json()
    assert job["filter"] == (echoed if call == "start" else ASKED)
    client.finish(job["source"])
    assert client.poll(job["source"]).json()["filter"] == echoed
    other = client.start(types=TYPES, start=START, end=START + HOUR).json()
    assert other["filter"] == ASKED

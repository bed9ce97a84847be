"""A client of the emulator that hides nothing: what the emulator's tests share."""

import csv
import io
import time
from collections import Counter
from collections.abc import Iterable

import requests
from requests.auth import HTTPBasicAuth

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.windows import HOUR

START = 1_571_025_600_000
"""2019-10-14T04:00:00Z, a Monday, in milliseconds."""

NOW = START + 1000 * HOUR
"""What time it is for the emulator."""


class Client:
    """What any client does: calls with credentials, downloads without."""

    def __init__(self, emulator: Emulator) -> None:
        """Talk to an emulator."""
        self.emulator = emulator
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = HTTPBasicAuth(emulator.username, emulator.password)
        self.timeout = 10.0

    def post(self, body: object) -> requests.Response:
        """Start a job with a body of any form."""
        url = f"{self.emulator.api_url}/reports"
        return self.session.post(url, json=body, timeout=self.timeout)

    def start(self, **query: object) -> requests.Response:
        """Start a job."""
        return self.post({"filter": {"customer": "TGAM", "product": "WATCHLIST", **query}})

    def get(self, path: str, accept: str = "*/*", *, follow: bool = True) -> requests.Response:
        """Make a call of the API."""
        url, headers = self.emulator.api_url + path, {"Accept": accept}
        return self.session.get(url, headers=headers, allow_redirects=follow, timeout=self.timeout)

    def poll(self, source: str) -> requests.Response:
        """Ask how a job is doing."""
        return self.get(f"/reports/{source}/availability")

    def finish(self, source: str) -> str:
        """Wait for a job to end; return its status."""
        while (status := self.poll(source).json()["status"]) == "RUNNING":
            time.sleep(0.005)
        return str(status)

    def link(self, source: str) -> requests.Response:
        """Ask for a job's link."""
        return self.get(f"/reports/{source}", "application/json")

    def export(self, start: int = START, end: int = START + HOUR, **query: object) -> str:
        """Run a job to its end; return its link."""
        source = self.start(**query, start=start, end=end).json()["source"]
        assert self.finish(source) in {"COMPLETE", "COMPLETED"}
        return str(self.link(source).json()["link"])

    def download(self, link: str, **headers: str) -> requests.Response:
        """Fetch a file, uncompressed unless asked otherwise."""
        headers = {"Accept-Encoding": "identity", **headers}
        response = requests.get(link, headers=headers, timeout=self.timeout)
        response.encoding = "utf-8"
        return response


def as_multiset(events: Iterable[Event]) -> Counter[tuple[object, ...]]:
    """Return how often each event is there."""
    return Counter((e.timestamp, e.type, *sorted(e.values.items())) for e in events)


def read(text: str, columns: tuple[str, ...] | None, *, quoted: bool = False) -> list[Event]:
    """Read an export the slow, obvious way; ``columns`` is ``None`` if it has a header."""
    if quoted:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="|"))
    else:
        rows = [line.split("|") for line in text.splitlines()]
    names = list(columns) if columns is not None else rows.pop(0)
    events = []
    for row in rows:
        values = dict(zip(names, row, strict=True))
        timestamp, kind = int(values.pop("timestamp")), values.pop("type")
        events.append(Event(timestamp, kind, {k: v for k, v in values.items() if v}))
    return events

"""Good files that came in an unusual way."""

from __future__ import annotations

import gzip

import pytest

from tests.raw_server import RawServer, http
from tests.tap_runs import START, sync

pytestmark = pytest.mark.usefixtures("hardly_waiting")


def settings_of(server: RawServer) -> dict[str, object]:
    return {
        "api_url": server.api_url,
        "username": "u",
        "password": "p",
        "customer": "TGAM",
        "products": ["WATCHLIST"],
        "start_date": START,
        "end_date": "2026-03-02T01:00:00.000+00:00",
        "lookback_hours": 0,
    }


@pytest.mark.parametrize("encoding", [None, "gzip", "gzip, gzip"])
def test_a_file_that_was_compressed_twice_is_read(encoding: str | None) -> None:
    with RawServer() as server:
        server.responses["download"] = lambda request, _: http(
            gzip.compress(gzip.compress(server.file(request.source))), Content_Encoding=encoding
        )
        outcome = sync(settings_of(server))
    assert outcome.error is None
    assert len(outcome.records) == 60

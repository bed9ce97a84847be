"""The emulator's object storage: signed links that run out, ranges, compression."""

import gzip

import pytest
import requests

from tap_barchart_events.windows import HOUR
from tests.emulator_client import START, Client


def test_a_link_with_credentials_is_refused(client: Client) -> None:
    response = client.session.get(client.export(), timeout=5)
    assert response.status_code == 400
    assert "Only one auth mechanism allowed" in response.text


def test_a_link_that_was_tampered_with_is_refused(client: Client) -> None:
    link = client.export()
    host = client.emulator.storage_url
    for other in (link + "0", link.replace("Expires=900", "Expires=901"), host + "/exports/x.csv"):
        response = client.download(other)
        assert (response.status_code, "SignatureDoesNotMatch" in response.text) == (403, True)
    assert client.download(link).status_code == 200


def test_ranges_are_served_from_any_byte(client: Client) -> None:
    client.emulator.header = True
    link = client.export(end=START + 30 * HOUR)
    whole = client.download(link)
    data, etag = whole.content, whole.headers["ETag"]
    size = len(data)
    assert whole.headers["Accept-Ranges"] == "bytes"
    for requested, part in (
        ("0-0", data[:1]),
        ("0-99", data[:100]),
        (f"{size // 2}-", data[size // 2 :]),
        (f"{size - 1}-{size + 50}", data[-1:]),
        ("-77", data[-77:]),
        ("12345-67890", data[12345:67891]),
    ):
        response = client.download(link, Range=f"bytes={requested}", **{"If-Range": etag})
        assert response.status_code == 206
        assert response.content == part
        assert response.headers["Content-Range"].endswith(f"/{size}")
    beyond = client.download(link, Range=f"bytes={size}-")
    assert beyond.status_code == 416
    assert beyond.headers["Content-Range"] == f"bytes */{size}"
    changed = client.download(link, Range="bytes=5-", **{"If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, data)


@pytest.mark.parametrize("hours", [1, 200])
def test_gzip_is_the_same_file_compressed(client: Client, hours: int) -> None:
    link = client.export(end=START + hours * HOUR)
    plain = client.download(link)
    assert "Content-Encoding" not in plain.headers
    packed = requests.get(link, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=10)
    assert packed.headers["Content-Encoding"] == "gzip"
    raw = packed.raw.read(decode_content=False)
    assert gzip.decompress(raw) == plain.content
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert client.download(link, **{"Accept-Encoding": "gzip;q=0"}).content == plain.content
    client.emulator.gzip = False
    other = client.download(client.export(), **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in other.headers

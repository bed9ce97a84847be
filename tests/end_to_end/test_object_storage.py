"""BATCH files in S3, written by the real command to an S3 server on loopback."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import requests
from moto.server import ThreadedMotoServer

from barchart_events_emulator import Emulator
from tests.tap_runs import Outcome, Tap, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

BUCKET = "s3://events-of-tgam"


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    # A column that the tap does not know gives `extra` values.
    with Emulator(header=True, added_column="abTest", events_per_hour=300) as service:
        yield service


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Return the address of an S3 server that holds nothing but an empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    requests.put(BUCKET.replace("s3:/", address), timeout=10).raise_for_status()
    yield address
    server.stop()


def environ_of(s3: str, home: Path, **more: str) -> dict[str, str]:
    """Return an environment with made-up credentials, in which no other host can be reached."""
    nowhere = "http://127.0.0.1:9"
    return {
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up-too",
        "AWS_SESSION_TOKEN": "",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1",
        **more,
    }


def run(folder: Path, service: Emulator, s3: str, **more: Any) -> Outcome:
    """Run the tap on two products, with credentials for the S3 server."""
    settings = settings_of(service, products=["WATCHLIST", "PORTFOLIO"], **more)
    return Tap(folder, settings, environ=environ_of(s3, folder)).end()


def batch_config(encoding: Mapping[str, Any], root: str) -> dict[str, Any]:
    return {
        "encoding": encoding,
        "storage": {
            "root": root,
            "prefix": "part-",
            "params": {"s3_additional_kwargs": {"ACL": "public-read"}},
        },
        "batch_size": 2_500,
    }


def stored(url: str, s3: str, folder: Path) -> list[dict[str, Any]]:
    """Read the records of a batch file from the server, without the tap's libraries for S3."""
    response = requests.get(url.replace("s3:/", s3), timeout=10)
    response.raise_for_status()
    if url.endswith(".json.gz"):
        return [json.loads(line) for line in gzip.decompress(response.content).splitlines()]
    file = folder / "file.parquet"
    file.write_bytes(response.content)
    table = duckdb.read_parquet(str(file))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
    for row in rows:
        values = {name: value for name, value in (row["extra"] or {}).items() if value is not None}
        row["extra"] = values or None
    return rows


@pytest.mark.parametrize(
    "encoding",
    [{"format": "jsonl", "compression": "gzip"}, {"format": "parquet"}],
    ids=["jsonl.gz", "Parquet"],
)
def test_batch_files_in_s3_hold_what_record_messages_hold(
    service: Emulator, s3: str, tmp_path: Path, encoding: Mapping[str, Any]
) -> None:
    records = run(tmp_path, service, s3)

    batches = run(
        tmp_path, service, s3, batch_config=batch_config(encoding, f"{BUCKET}/{encoding['format']}")
    )

    assert records.code == batches.code == 0, batches.log
    urls = [url for m in batches.messages if m["type"] == "BATCH" for url in m["manifest"]]
    assert all(url.startswith(f"{BUCKET}/{encoding['format']}/part-") for url in urls)
    found = [record for url in urls for record in stored(url, s3, tmp_path)]
    assert len(found) > 1_000
    assert any(record["extra"] for record in found)
    assert found == records.records
    assert batches.bookmarks == records.bookmarks


def test_without_credentials_the_last_line_says_so_and_no_bookmark_moves(
    service: Emulator, s3: str, tmp_path: Path
) -> None:
    settings = settings_of(service, batch_config=batch_config({"format": "parquet"}, BUCKET))
    environ = environ_of(s3, tmp_path, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")

    outcome = Tap(tmp_path, settings, environ=environ).end()

    assert outcome.code == 1
    last_line = outcome.log.splitlines()[-1]
    assert "could not write a batch file: NoCredentialsError; check space, per" in last_line
    assert "credentials where batch_config stores files" in last_line
    assert [message for message in outcome.messages if message["type"] == "BATCH"] == []
    assert outcome.bookmarks == {}


@pytest.mark.parametrize(
    "storage",
    [
        {"root": "s3://s3cret part/x"},
        {"root": "s3://s3cret", "params": {"key": "s3cret\n", "secret": "s3cret"}},
        {"root": "s3://s3cret", "params": {"key": "key", "token": ["s3cret"]}},
        {"root": "s3://s3cret", "params": {"endpoint_url": "http://s3cret.invalid:x"}},
        {"root": "s3://s3cret", "params": {"client_kwargs": {"region_name": "s3cret%"}}},
        {"root": "s3cret://bucket"},
        {"root": "file:///dev/null/s3cret"},
    ],
)
def test_no_error_about_a_storage_has_a_part_of_batch_config(
    service: Emulator, s3: str, tmp_path: Path, storage: dict[str, Any]
) -> None:
    config = {"encoding": {"format": "parquet"}, "storage": storage}
    settings = settings_of(service, batch_config=config)
    environ = environ_of(s3, tmp_path)

    outcome = Tap(tmp_path, settings, environ=environ).end()

    assert outcome.code == 1, outcome.log[-3000:]
    assert "batch_config" in outcome.log.splitlines()[-1]
    assert "s3cret" not in outcome.log, outcome.log[-3000:]
    assert "Traceback" not in outcome.log

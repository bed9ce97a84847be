"""Output modes: RECORD lines in bulk, through the SDK, and BATCH files; all have equal events."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
import requests
from moto.server import ThreadedMotoServer
from singer_sdk.helpers._batch import StorageTarget

from barchart_events_emulator import Emulator
from tap_barchart_events.command import describe_error
from tap_barchart_events.windows import from_iso
from tests.tap_runs import (
    START,
    Outcome,
    Tap,
    output_mode,
    records_of,
    settings_of,
    sync,
    synced,
)

WINDOWS = 4
"""Of each product, in the settings that these tests use."""

PRODUCTS = ["WATCHLIST", "PORTFOLIO"]

IDENTITY: dict[str, Any] = {"stream_maps": {"events": {}}}
"""A stream map that changes nothing, but has each record pass through the SDK."""


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    # A column that the tap does not know gives `extra` values; quoting lets values be awkward.
    with Emulator(header=True, added_column="abTest", quoting="minimal") as emulator:
        yield emulator


def ran(folder: Path, service: Emulator, *arguments: str, **more: Any) -> Outcome:
    settings = settings_of(service, products=PRODUCTS, **more)
    outcome = Tap(folder, settings, arguments=arguments).end()
    assert outcome.code == 0, outcome.log
    return outcome


@pytest.fixture(scope="module")
def in_bulk(service: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return ran(tmp_path_factory.mktemp("bulk"), service)


@pytest.fixture(scope="module")
def through_sdk(service: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return ran(tmp_path_factory.mktemp("sdk"), service, **IDENTITY)


# RECORD messages -----------------------------------------------------------------------------


def times(outcome: Outcome) -> set[str]:
    """Return when records were extracted."""
    return {m["time_extracted"] for m in outcome.messages if m["type"] == "RECORD"}


def test_messages_in_bulk_are_those_through_the_sdk_field_by_field_but_for_the_instant(
    in_bulk: Outcome, through_sdk: Outcome
) -> None:
    # A stream map makes its own SCHEMA: no descriptions, and no bookmark.
    bulk, sdk = (
        [
            {**message, "time_extracted": "", "record": list(message["record"].items())}
            for message in outcome.messages
            if message["type"] == "RECORD"
        ]
        for outcome in (in_bulk, through_sdk)
    )
    assert len(bulk) > 1_000
    assert any(record["extra"] for record in in_bulk.records)
    assert bulk == sdk
    assert in_bulk.bookmarks == through_sdk.bookmarks
    # The SDK looks at the clock for each record, the bulk path once for each window.
    assert len(times(in_bulk)) == WINDOWS * len(PRODUCTS) < len(times(through_sdk))


@pytest.mark.parametrize("maps", [{}, IDENTITY], ids=["in bulk", "through the SDK"])
def test_records_fit_the_schema_though_fields_are_empty(maps: Mapping[str, Any]) -> None:
    at = from_iso(START)
    body = f"timestamp|type|userId\n{at}||\n{at + 1}|WATCHLIST-CREATED|me\n".encode()
    with Emulator(body=lambda _: body) as service:
        outcome = synced(settings_of(service, window_hours=WINDOWS, **maps))
    for record in outcome.records:
        empty = {name for name, value in record.items() if value is None}
        assert all("null" in outcome.schema[name]["type"] for name in empty)
    assert [record["type"] for record in outcome.records] == [None, "WATCHLIST-CREATED"]


# BATCH files ---------------------------------------------------------------------------------


BUCKET = "s3://events-of-tgam"


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


@pytest.fixture
def environ(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return an environment with made-up credentials for that server, which is this process's."""
    made_up = {
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up-too",
        "AWS_SESSION_TOKEN": "",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    for name, value in made_up.items():
        monkeypatch.setenv(name, value)
    return made_up


def stored(url: str, s3: str, folder: Path) -> list[dict[str, Any]]:
    """Read the records of a batch file, without the tap's libraries for S3."""
    if not url.startswith("s3:"):
        return records_of(Path(url.removeprefix("file://")))
    response = requests.get(url.replace("s3:/", s3), timeout=10)
    response.raise_for_status()
    file = folder / url.rpartition("/")[2]
    file.write_bytes(response.content)
    return records_of(file)


@pytest.mark.parametrize(
    ("encoding", "size"),
    [
        ({"format": "jsonl", "compression": "gzip"}, 700),
        ({"format": "jsonl", "compression": "none"}, 700),
        # A row group is never cut within 2,048 rows.
        ({"format": "parquet"}, 2_500),
    ],
    ids=["jsonl, gzip", "jsonl", "Parquet"],
)
@pytest.mark.parametrize("place", ["folder", "S3"])
@pytest.mark.usefixtures("environ")
def test_batch_files_hold_the_records_cut_at_batch_size(
    service: Emulator,
    s3: str,
    tmp_path: Path,
    in_bulk: Outcome,
    place: str,
    encoding: dict[str, Any],
    size: int,
) -> None:
    root = f"{BUCKET}/{tmp_path.name}" if place == "S3" else f"file://{tmp_path}"
    kwargs = {"s3_additional_kwargs": {"ACL": "public-read"}} if place == "S3" else {}
    storage = {"root": root, "prefix": "batch-", "params": kwargs}
    config = {"encoding": encoding, "storage": storage, "batch_size": size}
    settings = settings_of(service, products=PRODUCTS, batch_config=config, window_hours=WINDOWS)
    outcome = synced(settings)

    whole = [{**record, "end": ""} for record in in_bulk.records]
    found: list[dict[str, Any]] = []
    for message in outcome.messages:
        if message["type"] == "BATCH":
            [url] = message["manifest"]
            assert url.startswith(f"{root}/batch-")
            records = stored(url, s3, tmp_path)
            assert 0 < len(records) <= size
            found += [{**record, "end": ""} for record in records]
        elif message["type"] == "STATE":
            claimed = Outcome([message]).bookmarks
            missing = whole[len(found) :]
            assert not [r for r in missing if r["timestamp"] < claimed.get(r["product"], "")]
    assert found == whole
    assert outcome.bookmarks == in_bulk.bookmarks


@pytest.mark.parametrize(
    ("root", "written"),
    [
        ("~/x", "home/x"),
        ("out", "here/out"),
        ("../out", "out"),
        ("file:out", "here/out"),
        ("{}/a b", "a b"),
        ("file://{}//a//", "a"),
        ("{}/été:[x]*", "été:[x]*"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "a b:é~"])
def test_a_manifest_names_the_file_that_was_written(
    service: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    root: str,
    written: str,
    prefix: str,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    more = output_mode("files", tmp_path, 10_000)
    more["batch_config"]["storage"] = {"root": root.format(tmp_path), "prefix": prefix}

    [url] = synced(settings_of(service, window_hours=WINDOWS, **more)).files

    [file] = tmp_path.rglob("*.json.gz")
    assert file.parent == tmp_path / written
    assert file.name.startswith(prefix)
    folder, name = StorageTarget.split_url(url)
    with StorageTarget.from_url(folder).open(name) as by_a_target_of_the_sdk:
        assert by_a_target_of_the_sdk.read() == file.read_bytes()
    assert Path(url2pathname(urlsplit(url).path)) == file, "a reader of URLs finds another file"


@pytest.mark.parametrize("test", ["records", "schema"])
def test_trying_the_tap_writes_no_batch_file(service: Emulator, tmp_path: Path, test: str) -> None:
    folder = tmp_path / "batches"
    folder.mkdir()
    outcome = ran(tmp_path, service, f"--test={test}", **output_mode("files", folder, 100))
    assert list(folder.iterdir()) == []
    assert outcome.files == []


def test_without_credentials_the_last_line_says_so_and_no_bookmark_moves(
    service: Emulator, environ: dict[str, str], tmp_path: Path
) -> None:
    config = {"encoding": {"format": "parquet"}, "storage": {"root": BUCKET}}
    environ |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    outcome = Tap(tmp_path, settings_of(service, batch_config=config), environ=environ).end()
    assert outcome.code == 1
    assert "could not write a batch file: NoCredentialsError; check free space" in outcome.reason
    assert "credentials of the storage in batch_config" in outcome.reason
    assert (outcome.files, outcome.bookmarks) == ([], {})


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
@pytest.mark.usefixtures("environ")
def test_no_error_about_a_storage_has_a_part_of_batch_config(
    service: Emulator, caplog: pytest.LogCaptureFixture, storage: dict[str, Any]
) -> None:
    config = {"encoding": {"format": "parquet"}, "storage": storage}
    outcome = sync(settings_of(service, batch_config=config))
    assert outcome.error
    reason = describe_error(outcome.error)
    assert "batch_config" in reason
    assert "s3cret" not in caplog.text + reason
    assert "Traceback" not in caplog.text

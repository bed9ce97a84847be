"""Output modes: RECORD lines in bulk, through the SDK, and BATCH files; all have equal events."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import duckdb
import pytest
from singer_sdk.helpers._batch import StorageTarget

from barchart_events_emulator import Emulator
from tap_barchart_events.tap import TapBarchartEvents
from tap_barchart_events.windows import from_iso
from tests.tap_runs import COMMAND, START, Outcome, Tap, output_mode, settings_of, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


def run(folder: Path, service: Emulator, *arguments: str, **more: Any) -> Outcome:
    settings = settings_of(service, products=PRODUCTS, **more)
    outcome = Tap(folder, settings, arguments=arguments).end()
    assert outcome.code == 0, outcome.log
    return outcome


@pytest.fixture(scope="module")
def in_bulk(service: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(tmp_path_factory.mktemp("bulk"), service)


@pytest.fixture(scope="module")
def through_sdk(service: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(tmp_path_factory.mktemp("sdk"), service, **IDENTITY)


def instants_of(outcome: Outcome) -> set[str]:
    return {m["time_extracted"] for m in outcome.messages if m["type"] == "RECORD"}


def test_only_a_stream_map_has_each_record_pass_through_the_sdk(
    in_bulk: Outcome, through_sdk: Outcome
) -> None:
    # The SDK looks at the clock for each record, the bulk path once for each window.
    assert len(instants_of(in_bulk)) == WINDOWS * len(PRODUCTS)
    assert len(instants_of(through_sdk)) > WINDOWS * len(PRODUCTS)


def test_records_in_bulk_are_those_through_the_sdk_field_by_field(
    in_bulk: Outcome, through_sdk: Outcome
) -> None:
    assert len(in_bulk.records) > 1_000
    assert any(record["extra"] for record in in_bulk.records)
    for bulk, sdk in zip(in_bulk.records, through_sdk.records, strict=True):
        assert list(bulk.items()) == list(sdk.items())


def test_messages_in_bulk_are_those_through_the_sdk_but_for_the_instant(
    in_bulk: Outcome, through_sdk: Outcome
) -> None:
    def comparable(outcome: Outcome) -> list[dict[str, Any]]:
        # A stream map makes its own SCHEMA: no descriptions, and no bookmark.
        return [
            {name: value for name, value in message.items() if name != "time_extracted"}
            for message in outcome.messages
            if message["type"] == "RECORD"
        ]

    assert comparable(in_bulk) == comparable(through_sdk)
    assert in_bulk.bookmarks == through_sdk.bookmarks


@pytest.mark.parametrize("way", ["in_bulk", "through_sdk"])
def test_the_sdks_record_counter_counts_every_record(
    way: str, request: pytest.FixtureRequest
) -> None:
    outcome: Outcome = request.getfixturevalue(way)

    points = [line.partition("METRIC: ")[2] for line in outcome.log.splitlines()]
    metrics = [json.loads(point) for point in points if point]
    counted = sum(m["value"] for m in metrics if m["metric"] == "record_count")
    assert counted == len(outcome.records)


@pytest.mark.parametrize("maps", [{}, IDENTITY], ids=["in bulk", "through the SDK"])
def test_properties_that_are_not_selected_are_not_written(
    service: Emulator, tmp_path: Path, in_bulk: Outcome, maps: Mapping[str, Any]
) -> None:
    away = ["user_id", "symbol", "extra"]
    config = tmp_path / "config.json"
    config.write_text(json.dumps(settings_of(service, products=PRODUCTS)), encoding="utf-8")
    discover = [*COMMAND, f"--config={config}", "--discover"]
    catalog = json.loads(subprocess.run(discover, capture_output=True, check=True).stdout)
    for entry in catalog["streams"][0]["metadata"]:
        if entry["breadcrumb"] in [["properties", name] for name in away]:
            entry["metadata"]["selected"] = False
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(catalog), encoding="utf-8")

    outcome = run(tmp_path, service, f"--catalog={path}", **maps)

    schema = next(m["schema"] for m in outcome.messages if m["type"] == "SCHEMA")
    assert not set(away) & set(schema["properties"])
    expected = [{n: v for n, v in r.items() if n not in away} for r in in_bulk.records]
    assert outcome.records == expected


def test_columns_that_an_older_catalog_lacks_go_to_extra(
    service: Emulator, tmp_path: Path, in_bulk: Outcome
) -> None:
    tap = TapBarchartEvents(config=settings_of(service, products=["WATCHLIST"]))
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(tap.catalog_dict), encoding="utf-8")

    outcome = run(tmp_path, service, f"--catalog={path}")

    known = set(tap.catalog_dict["streams"][0]["schema"]["properties"])
    for record, whole in zip(outcome.records, in_bulk.records, strict=True):
        values = whole | (whole["extra"] or {})
        assert record.keys() == known
        found = record | (record["extra"] or {})
        assert {n: v for n, v in found.items() if v and n != "extra"} == {
            n: v for n, v in values.items() if v and n != "extra"
        }
    assert "portfolio_id" in outcome.log, "a warning names what is new"


def test_a_column_taken_out_of_the_schema_alone_does_not_come_as_extra(
    service: Emulator, tmp_path: Path
) -> None:
    tap = TapBarchartEvents(config=settings_of(service, products=["WATCHLIST"]))
    catalog = json.loads(json.dumps(tap.catalog_dict))
    del catalog["streams"][0]["schema"]["properties"]["user_id"]
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(catalog), encoding="utf-8")

    outcome = run(tmp_path, service, f"--catalog={path}")

    assert outcome.records
    assert not any("user_id" in record | (record["extra"] or {}) for record in outcome.records)


@pytest.mark.parametrize("maps", [{}, IDENTITY], ids=["in bulk", "through the SDK"])
def test_records_fit_the_schema_though_fields_are_empty(
    tmp_path: Path, maps: Mapping[str, Any]
) -> None:
    names = ["timestamp", "type", "userId"]
    at = from_iso(START)
    rows = [names, [str(at), "", ""], [str(at + 1), "WATCHLIST-CREATED", "me"]]
    body = "".join("|".join(row) + "\n" for row in rows).encode()
    with Emulator(body=lambda _: body) as service:
        outcome = Tap(tmp_path, settings_of(service, window_hours=WINDOWS, **maps)).end()
    schema = next(m["schema"] for m in outcome.messages if m["type"] == "SCHEMA")
    for record in outcome.records:
        empty = {name for name, value in record.items() if value is None}
        assert all("null" in schema["properties"][name]["type"] for name in empty)
    assert [record["type"] for record in outcome.records] == [None, "WATCHLIST-CREATED"]


def records_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        table = duckdb.read_parquet(str(path))
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
        for row in rows:
            extra = {n: v for n, v in (row["extra"] or {}).items() if v is not None}
            row["extra"] = extra or None
        return rows
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in text.splitlines()]


def without_window(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "end"}


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
def test_batch_files_hold_the_records_cut_at_batch_size(
    service: Emulator, tmp_path: Path, in_bulk: Outcome, encoding: Mapping[str, Any], size: int
) -> None:
    storage = {"root": f"file://{tmp_path}", "prefix": "batch-"}
    config = {"encoding": encoding, "storage": storage, "batch_size": size}

    outcome = run(tmp_path, service, batch_config=config, window_hours=WINDOWS)

    found: list[dict[str, Any]] = []
    for message in outcome.messages:
        if message["type"] == "BATCH":
            (url,) = message["manifest"]
            path = Path(url.removeprefix("file://"))
            assert path.name.startswith("batch-")
            records = records_of(path)
            assert 0 < len(records) <= size
            found += records
        elif message["type"] == "STATE":
            claimed = Outcome([message]).bookmarks
            missing = in_bulk.records[len(found) :]
            assert not [r for r in missing if r["timestamp"] < claimed.get(r["product"], "")]
    assert [*map(without_window, found)] == [*map(without_window, in_bulk.records)]
    assert outcome.bookmarks == in_bulk.bookmarks


@pytest.mark.parametrize(
    ("root", "written"),
    [
        ("~/x", "home/x"),
        ("file://~/x", "home/x"),
        ("~", "home"),
        ("out", "here/out"),
        ("./out/", "here/out"),
        ("../out", "out"),
        ("file:out", "here/out"),
        ("{}/a b", "a b"),
        ("file://{}/a b", "a b"),
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

    outcome = sync(settings_of(service, window_hours=WINDOWS, **more))

    assert outcome.error is None
    [url] = [url for m in outcome.messages if m["type"] == "BATCH" for url in m["manifest"]]
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
    more = output_mode("files", folder, 100)

    outcome = run(tmp_path, service, f"--test={test}", **more)

    assert list(folder.iterdir()) == []
    assert "BATCH" not in {message["type"] for message in outcome.messages}

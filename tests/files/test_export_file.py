"""Export files → events: in each output mode, in bad cases."""

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import pytest

from tap_barchart_events.files.check import Dropped
from tap_barchart_events.files.export_file import ExportFile
from tap_barchart_events.files.queries import TIE_LOOKBACK
from tap_barchart_events.windows import Window, to_iso
from tests.expected_events import event_ids
from tests.export_files import (
    DAY,
    START,
    WATCHLIST,
    by_id,
    checked,
    events_of,
    read,
    records_in_lines,
    refusal,
    row,
    text,
)
from tests.tap_runs import records_of


def ids(records: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(record["event_id"] for record in records)


# Three output modes -----------------------------------------------------------------------------


def busy_rows(count: int) -> list[list[str]]:
    generator = random.Random(11)  # noqa: S311 - a test's choice
    values = ["", "", "AAPL", "Ünï|cødé".replace("|", ""), 'qu"ote', "back\\slash", "\x01", "😀"]
    rows = []
    for n in range(count):
        at = START + n // 3 - 5
        rows.append([*row(at, "T", *generator.choices(values, k=7)), "new" * (n % 2)])
    return rows


BUSY = [[*WATCHLIST, "newColumn"], *busy_rows(5_000)]


def batches(export: ExportFile, encoding: str, compression: str | None) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for path in export.write_batches(encoding, compression, 2_100):
        batch = records_of(path, is_packed=compression == "gzip")
        assert len(batch) <= 2_100
        records += batch
        path.unlink()
    return records


MODES: dict[str, Callable[[ExportFile], list[dict[str, Any]]]] = {
    "RECORD lines": lambda export: list(records_in_lines(export)),
    "jsonl": lambda export: batches(export, "jsonl", None),
    "jsonl.gz": lambda export: batches(export, "jsonl", "gzip"),
    "parquet": lambda export: batches(export, "parquet", None),
    "parquet, gzip": lambda export: batches(export, "parquet", "gzip"),
}


def test_all_output_modes_hold_the_same_events_field_by_field() -> None:
    with checked(text(BUSY), quote_character="") as export:
        records = list(export.records())
        in_each_mode = {mode: read_all(export) for mode, read_all in MODES.items()}

    assert len(records) > 4_900
    assert by_id(records) == by_id(events_of(BUSY[1:], BUSY[0]))
    for mode, others in in_each_mode.items():
        assert others == records, mode
        assert all(list(one) == list(other) for one, other in zip(records, others, strict=True))


def test_a_file_without_events_yields_none_in_any_way() -> None:
    for data in (b"", b"\n\n", b"\xef\xbb\xbf", text([WATCHLIST]), text([row(DAY.end)])):
        with checked(data) as export:
            assert export.contents.events == 0
            assert list(export.records()) == []
            assert not any(read_all(export) for read_all in MODES.values())


def test_pieces_are_whole_lines_of_a_moderate_size() -> None:
    with checked(text([row(START + n) for n in range(10_000)])) as export:
        sizes = [len(lines) for lines, _ in export.record_lines("events", "2026-01-01T00:00:00Z")]
    assert len(sizes) > 10
    assert max(sizes) < 1 << 18


def test_only_selected_properties_come_out_and_ids_do_not_depend_on_them() -> None:
    selected = ["event_id", "symbol", "end"]
    with checked(text(BUSY), quote_character="", properties=selected) as export:
        few = list(export.records())
        assert list(records_in_lines(export)) == few
        assert MODES["parquet"](export) == few
    with checked(text(BUSY), quote_character="", properties=()) as export:
        assert list(records_in_lines(export)) == [{}] * len(few)
    everything = read(text(BUSY), quote_character="")

    assert few == [{name: event[name] for name in selected} for event in everything]


# Windows, timestamps, layouts ---------------------------------------------------------------


def test_rows_outside_the_half_open_window_are_dropped_and_counted_but_those_at_its_end() -> None:
    window = Window(START, START + 10)
    times = START - 1, START, START + 9, START + 10, START + 10, START + 11
    with checked(text([row(at) for at in times]), window=window) as export:
        contents = export.contents
        found = [record["timestamp"] for record in export.records()]
    assert found == [to_iso(START), to_iso(START + 9)]
    assert contents.events == 2
    assert contents.outside == Dropped(2, START - 1, START + 11)


def test_timestamps_beyond_all_years_are_another_range_like_any_other() -> None:
    at = (1 << 63) - 1
    assert f"to {at} ms" in refusal(text([row(at)]))


@pytest.mark.parametrize("at", [-62_135_596_800_000, -1, 0, 999, 253_402_300_799_998])
def test_timestamps_of_all_times_are_written_as_utc_with_milliseconds(at: int) -> None:
    (record,) = read(text([row(at)]), window=Window(at, at + 1))
    assert record["timestamp"] == to_iso(at)
    assert record["end"] == to_iso(at + 1)


def test_columns_that_the_schema_does_not_know_go_to_extra_whatever_their_name() -> None:
    names = [*WATCHLIST, "brandNew", "end", "customer", "extra", "Event Id", 'it\'s "odd"']
    values = [*row(START, "WATCHLIST-ACCESSED", "me"), "1", "2", "3", "4", "5", "6"]
    empty = [*row(START + 1), *[""] * 6]
    extra = {"brand_new": "1", "end": "2", "customer": "3", "extra": "4", "event_id": "5"}
    extra["it_s_odd"] = "6"

    data = text([names, values, empty])
    with checked(data, quote_character="") as export:
        contents = export.contents
        first, second = export.records()
        assert list(records_in_lines(export)) == [first, second]
        assert MODES["parquet"](export) == [first, second]

    assert set(contents.extra_columns) == set(extra)
    assert first["extra"] == extra
    assert (first["end"], first["customer"], first["user_id"]) == (to_iso(DAY.end), "TGAM", "me")
    assert second["extra"] is None
    assert [first] == events_of([values], names)


def test_a_new_column_without_values_is_not_worth_a_warning() -> None:
    with checked(text([[*WATCHLIST, "brandNew"], [*row(START), ""]])) as export:
        assert export.contents.extra_columns == ()


def test_the_setting_columns_names_the_columns_of_a_product_that_is_not_known() -> None:
    columns = {"NEW": ["type", "userId", "timestamp"]}
    data = f"A|me|{START}\nB||{START + 1}\n".encode()
    first, second = read(data, product="NEW", columns=columns)
    assert (first["type"], first["extra"]) == ("A", {"user_id": "me"})
    assert (second["type"], second["extra"]) == ("B", None)
    row_of_first = {"timestamp": str(START), "type": "A", "user_id": "me"}
    assert [first["event_id"]] == event_ids("NEW", [row_of_first])


SHIFTED = [row(START + n, "WATCHLIST-ACCESSED", "", "me", "list") for n in range(500)]
CONFLICT = (
    "WATCHLIST-ACCESSED has values in symbol in 500 rows, although these event types have no such "
    "columns"
)


def test_a_shifted_column_fails_the_window_or_is_a_warning_if_the_setting_says_so() -> None:
    assert re.search(f"TGAM/WATCHLIST .*{CONFLICT}.* layout_check", refusal(text(SHIFTED)))
    with checked(text(SHIFTED), layout_check="warning") as export:
        assert export.contents.events == 500
        assert export.contents.warnings == (CONFLICT,)


def test_a_header_needs_no_cross_check_and_unknown_event_types_are_passed_on() -> None:
    assert len(read(text([WATCHLIST, *SHIFTED]))) == 500
    unknown = [row(START + n, "WATCHLIST-INVENTED", *["x"] * 7) for n in range(500)]
    assert len(read(text(unknown))) == 500


# Ids and ordinals ---------------------------------------------------------------------------


def repeated(distances: Sequence[int], ties: int) -> list[list[str]]:
    """Return rows in time order where equal events lie so many rows apart."""
    rows = []
    for number, distance in enumerate(distances):
        at = START + 10 * number
        between = [row(at, "T", f"other {n}") for n in range(distance - 1)]
        rows += [row(at, "T", "same"), *between, row(at, "T", "same")]
        rows += [row(at, "T", f"tie {n}") for n in range(ties)]
    return rows


@pytest.mark.parametrize(
    "rows",
    [
        repeated([1, 2, TIE_LOOKBACK], 0),
        repeated([1, TIE_LOOKBACK + 1, 2], 0),
        repeated([50, 1], 40),
        [row(START, "T", "same")] * (TIE_LOOKBACK + 1),
        [row(START, "T", "same")] * 5_000,
        list(reversed(repeated([1, 2, 3, 5, 20], 3))),
    ],
    ids=["near", "beyond near", "far", "all near", "all", "disorder"],
)
def test_equal_events_get_ids_of_their_own_however_far_apart(rows: list[list[str]]) -> None:
    expected = events_of(rows, WATCHLIST)
    with checked(text(rows), layout_check="warning") as export:
        records = list(export.records())
        assert list(records_in_lines(export)) == records
    assert by_id(records) == by_id(expected)
    assert len(set(ids(records))) == len(rows)


def test_equal_events_far_apart_are_read_where_rows_are_long() -> None:
    rows = [row(START + n % 5 * 1000, "T", "u" * 2_600, str(n % 7)) for n in range(3_000)]
    assert by_id(read(text(rows))) == by_id(events_of(rows, WATCHLIST))


@pytest.mark.parametrize("order", [(5, 0, 0, 5), (0, 0, 5, 5)])
@pytest.mark.parametrize("name", ["rowid", "row number", "its ordinal", "key", "other values"])
def test_a_column_may_have_a_name_that_duckdb_or_the_query_has(
    name: str, order: tuple[int, ...]
) -> None:
    rows = [[str(START + at), "T", "me", "same"] for at in order]
    names = ["timestamp", "type", "userId", name]
    records = read(text([names, *rows]))
    assert by_id(records) == by_id(events_of(rows, names))


# Memory and stdout --------------------------------------------------------------------------


def test_duckdb_draws_no_progress_on_stdout_and_reaches_for_nothing() -> None:
    with checked(text([row(START)])) as export:
        connection = export._engine.connection  # noqa: SLF001 - only a slow query would show it
        for setting in ("enable_progress_bar", "enable_external_access"):
            assert connection.execute(f"SELECT current_setting('{setting}')").fetchone() == (False,)
        for statement in ("INSTALL httpfs", "FROM read_csv('/etc/passwd')", "SET threads = 2"):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)


def test_event_types_without_number_are_read_in_bounded_memory() -> None:
    rows = b"".join(b"%d|%d%s\n" % (START + n, n, b"|" * 62) for n in range(400_000))
    with checked(rows, product="CMDTYVIEW", properties=["type"]) as export:
        assert export.contents.events == 400_000


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ru_maxrss has another unit")
@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("equal", 1_500_000),
        ("disorder", 1_500_000),
        pytest.param("disorder", 6_000_000, marks=pytest.mark.soak),
    ],
)
def test_many_events_to_be_distinguished_fit_in_little_memory(kind: str, count: int) -> None:
    code = f"""
import resource
from tests.files.test_export_file import *
count = {count}
line = text([row(START, "T", "same")])
with checked(b"", layout_check="warning") as export:
    with export.path.open("wb") as file:
        for n in range(count // 1000):
            if {kind!r} == "equal":
                file.write(line * 1000)
            else:
                at = [START + (n * 7919 + m * 104729) % 86400000 for m in range(1000)]
                file.writelines(b"%d|T|%d||||||\\n" % (at[m], m % 100) for m in range(1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    export.check()
    assert export.contents.events == count
    assert sum(number for _, number in export.record_lines("events", "now")) == count
    print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.check_output([sys.executable, "-c", code], env=environment, timeout=120)
    before, after = map(int, done.split())
    assert after - before < 120_000

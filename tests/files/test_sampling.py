"""How many events a file holds, and when they occurred: counted in small files, else estimated."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tap_barchart_events.files import sampling
from tap_barchart_events.files.sampling import events_by_hour
from tap_barchart_events.files.scanner import Scanner
from tap_barchart_events.windows import HOUR
from tests.export_files import START, WATCHLIST

if TYPE_CHECKING:
    from pathlib import Path

FIRST_HOUR = START // HOUR


def hours(path: Path, **options: Any) -> dict[int, int]:
    usual = {"delimiter": "|", "quote_character": '"', "product": "WATCHLIST", "columns": {}}
    return events_by_hour(path, **{**usual, **options})


def write(folder: Path, data: bytes) -> Path:
    path = folder / "export.csv"
    path.write_bytes(data)
    return path


def rows(timestamps: list[int], *, end: str = "\n") -> bytes:
    return "".join(f"{at}|WATCHLIST-ACCESSED|u||||||{end}" for at in timestamps).encode()


def large_file(path: Path) -> Counter[int]:
    """Write 300,000 rows of many lengths, twice as many in the second half of the hours."""
    generator = random.Random(3)  # noqa: S311 - a test's choice
    expected: Counter[int] = Counter()
    with path.open("w") as file:
        for n in range(300_000):
            hour = n // 4_000 if n < 100_000 else 25 + (n - 100_000) // 8_000
            at = START + hour * HOUR + generator.randrange(HOUR)
            expected[at // HOUR] += 1
            symbol = "x" * generator.choice([0, 3, 40, 200])
            file.write(f"{at}|WATCHLIST-ACCESSED|user{n}||{symbol}||||\n")
    return expected


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [b"", b"timestamp|type|userId|b|c|d|e|f|g\n"])
def test_a_small_file_is_counted_exactly(tmp_path: Path, header: bytes, end: str) -> None:
    timestamps = [START + n * HOUR // 3 for n in range(10)]
    expected = Counter(at // HOUR for at in timestamps)
    data = header + rows(timestamps, end=end)
    assert hours(write(tmp_path, data)) == expected
    assert hours(write(tmp_path, data.removesuffix(end.encode()))) == expected
    assert hours(write(tmp_path, b"\xef\xbb\xbf" + data)) == expected


def test_the_timestamp_is_found_in_any_column(tmp_path: Path) -> None:
    header = f"type|userId|timestamp\nA|me|{START}\nB||{START + HOUR}\n".encode()
    assert hours(write(tmp_path, header)) == {FIRST_HOUR: 1, FIRST_HOUR + 1: 1}
    columns = {"NEW": ["type", "user_id", "timestamp"]}
    data = f'A,"a,b",{START}\nB,"c\nd","{START}"'.encode()
    found = hours(write(tmp_path, data), product="NEW", delimiter=",", columns=columns)
    assert found == {FIRST_HOUR: 2}
    data = f"A,'me,{START}\n".encode()
    columns = {"NEW": ["type", "userId", "timestamp"]}
    found = hours(
        write(tmp_path, data), product="NEW", delimiter=",", quote_character="", columns=columns
    )
    assert found == {FIRST_HOUR: 1}


def test_timestamps_before_the_epoch_have_hours_before_it(tmp_path: Path) -> None:
    assert hours(write(tmp_path, rows([-1, 0]))) == {-1: 1, 0: 1}


def test_a_large_file_is_estimated_within_a_few_percent(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    expected = large_file(path)
    found = hours(path)
    assert sum(found.values()) == pytest.approx(expected.total(), rel=0.04)
    assert found.keys() == expected.keys()
    for hour, events in expected.items():
        assert found[hour] == pytest.approx(events, rel=0.4)


def test_rows_longer_than_a_block_are_estimated(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    with path.open("w") as file:
        for n in range(20_000):
            file.write(f"{START + n}|WATCHLIST-ACCESSED|{'x' * (n % 4_000)}||||||\n")
    assert sum(hours(path).values()) == pytest.approx(20_000, rel=0.15)


def test_a_timestamp_beyond_what_is_read_is_never_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    columns = {"NEW": ["type", "timestamp"]}
    with path.open("w") as file:
        for n in range(4_000):
            file.write(f"{'x' * (400 + n % 700)}|{START}\n")
    assert hours(path, product="NEW", columns=columns).keys() == {FIRST_HOUR}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"hello\n",
        b"timestamp|type|type\n",
        b"1|a\xff\n",
        b'"' * 5_000,
        b"\0" * 3_000_000,
        b"|" * 3_000_000,
        b"12|" + b"\n12|" * 1_000_000,
        "|".join(WATCHLIST).encode(),
        b"99999999999999999999|a|||||||\n" * 2,
    ],
    ids=range(11),
)
def test_an_odd_file_gives_no_estimate_and_no_error(tmp_path: Path, data: bytes) -> None:
    assert hours(write(tmp_path, data)) == {}
    assert hours(tmp_path / "missing.csv") == {}


def test_rows_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    data = rows([START]) + b"broken\n12.5|a|||||||\n\n" + rows([START]) + b'"never closed'
    assert hours(write(tmp_path, data)) == {FIRST_HOUR: 2}


def test_an_estimate_costs_the_same_whatever_the_files_size(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    block = rows([START + n for n in range(20_000)])
    costs = []
    for megabytes in (8, 160):
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(block)
        hours(path)
        began = time.thread_time()
        hours(path)
        costs.append(time.thread_time() - began)
    assert costs[1] < 2 * costs[0] + 0.02
    tracemalloc.start()
    try:
        hours(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_sampled_row_stands_for_as_many_rows_as_bytes_were_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, rows([START] * 10_000))
    monkeypatch.setattr(sampling, "BLOCKS", 100)
    (events,) = hours(path).values()
    assert events == pytest.approx(10_000, rel=0.05)


def test_a_row_that_takes_all_memory_leaves_the_error_to_the_check_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Scanner) -> None:
        raise MemoryError

    monkeypatch.setattr(Scanner, "rows", fail)
    assert hours(write(tmp_path, rows([START]))) == {}

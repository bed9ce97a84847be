"""DuckDB within bounds: what happens when memory or disk do not suffice."""

import resource
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.engine import Engine, UnreadableRowError

MEMORY = 20 << 20


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with closing(Engine(tmp_path, MEMORY)) as engine:
        yield engine


def test_it_makes_a_directory_of_its_own_and_removes_it(engine: Engine, tmp_path: Path) -> None:
    engine.run("SELECT 1")
    assert list(tmp_path.iterdir()) == [engine.directory]
    engine.close()
    assert list(tmp_path.iterdir()) == []


def test_values_that_fit_neither_in_memory_nor_on_disk_get_a_sentence(engine: Engine) -> None:
    with pytest.raises(FileError, match="rows need more than 20 MB of memory"):
        engine.run("SELECT len(list(range)) FROM range(10_000_000)")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full disk shows otherwise")
def test_temporary_files_that_cannot_be_written_get_a_sentence(engine: Engine) -> None:
    sql = "CREATE TABLE t AS SELECT md5(range::TEXT) AS id FROM range(3_000_000) ORDER BY 1"
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, usual[1]))
    try:
        with pytest.raises(FileError, match="temporary files"):
            engine.run(sql)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.parametrize("raised", [MemoryError, duckdb.OutOfMemoryException])
def test_too_little_memory_for_duckdb_to_start_gets_a_sentence(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, raised: type[Exception]
) -> None:
    def connect(**_: object) -> None:
        raise raised

    monkeypatch.setattr(duckdb, "connect", connect)
    with pytest.raises(FileError, match=r"than the process may use; .* raise the memory limit"):
        engine.run("SELECT 1")


def test_rows_that_cannot_be_read_are_not_shown(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "export.csv"
    file.write_text("SECRET\n")
    options = "columns={'a': 'BIGINT'}, auto_detect=false, buffer_size=1_000_000"
    with pytest.raises(UnreadableRowError) as error:
        next(engine.fetch(f"FROM read_csv('{file}', {options})", 1))
    assert "SECRET" not in str(error.value)


def test_rows_are_fetched_so_many_at_a_time_and_never_across_a_cut(engine: Engine) -> None:
    pieces = engine.fetch("FROM range(10)", 4, cut=5)
    assert [len(rows) for rows in pieces] == [4, 1, 4, 1]

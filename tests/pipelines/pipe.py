"""The plain Singer pipe: the tap as a process, its messages, and a target that reads them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from barchart_events_emulator import Emulator
from demo.pipeline import MELTANO, PROJECT, Pipeline
from demo.postgres_server import Postgres
from tests.expected_events import CUSTOMER, EventValues, arrived
from tests.project.commands import Programs
from tests.tap_runs import Tap, bookmarks

LOADER = PROJECT / ".meltano" / "loaders" / "target-postgres" / "venv"
TARGET_POSTGRES = LOADER / "bin" / "target-postgres"
OF_TARGET = Programs(LOADER, "target_postgres.target", "psycopg")
OF_MELTANO = Programs(PROJECT / ".venv-meltano", "meltano.cli", "alembic.command")


def settings_of(emulator: Emulator, **more: Any) -> dict[str, Any]:
    """Return the tap's settings for an emulator."""
    return {
        "api_url": emulator.api_url,
        "username": emulator.username,
        "password": emulator.password,
        "customer": CUSTOMER,
        "poll_interval_seconds": 0.05,
        **more,
    }


def batch_config(files: Path, file_format: str = "jsonl", batch_size: int = 1000) -> dict[str, Any]:
    """Return the tap's setting for BATCH files in a folder, which is made."""
    files.mkdir(exist_ok=True)
    compression = {"compression": "gzip"} if file_format == "jsonl" else {}
    return {
        "encoding": {"format": file_format, **compression},
        "storage": {"root": files.as_uri(), "prefix": ""},
        "batch_size": batch_size,
    }


def variables(settings: Mapping[str, Any], plugin: str = "TAP_BARCHART_EVENTS") -> dict[str, str]:
    """Return settings as the environment variables that Meltano and the tap read."""
    return {
        f"{plugin}_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }


def into_postgres(postgres: Postgres, schema: str) -> dict[str, str]:
    """Return the environment variables of target-postgres and of dbt-postgres."""
    target = {"sqlalchemy_url": postgres.url, "default_target_schema": schema}
    dbt = {"host": str(postgres.folder), "user": "postgres", "database": "postgres"}
    return variables(target, "TARGET_POSTGRES") | variables(dbt, "DBT_POSTGRES")


def kept_bookmarks(pipeline: Pipeline, state_id: str) -> dict[str, str]:
    """Return the bookmarks that Meltano keeps of the products."""
    environment = f"--environment={state_id.partition(':')[0]}"
    command = (MELTANO, environment, "state", "get", state_id)
    return bookmarks(json.loads(OF_MELTANO(*command, folder=pipeline.folder))["singer_state"])


def loaded_into(postgres: Postgres, schema: str) -> dict[str, EventValues]:
    """Return the events of the table in a schema."""
    return loaded(postgres.rows("select * from events", schema=schema))


def loaded(rows: Iterable[Mapping[str, Any]]) -> dict[str, EventValues]:
    """Return a table's rows, none of which may be there twice, in the form of `expected_events`.

    Args:
        rows: Column and value, as JSON has them; names in any case, and with what targets add.
    """
    return arrived(map(_record, rows))


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    record = {
        name.lower(): value for name, value in row.items() if not name.lower().startswith("_sdc_")
    }
    # The emulated Snowflake returns an object as text; one from a Parquet file has nulls.
    extra = record.get("extra")
    named = json.loads(extra) if isinstance(extra, str) else extra or {}
    values = {name: text for name, text in named.items() if text is not None}
    return record | {"extra": values or None}


def messages(settings: Mapping[str, Any], folder: Path) -> str:
    """Run the tap to its end and return what it wrote to stdout."""
    done = Tap(folder, settings).end(timeout=300)
    assert done.code == 0, done.log[-5000:]
    return done.written.decode()


def load_into_postgres(
    written: str, postgres: Postgres, schema: str, folder: Path, **settings: Any
) -> None:
    """Run target-postgres over a tap's messages, with the settings that the documentation advises.

    Args:
        written: What the tap wrote.
        postgres: The server.
        schema: Where the table is or will be.
        folder: Where the settings are put down.
        settings: Other settings of the target.
    """
    target = {
        "sqlalchemy_url": postgres.url,
        "default_target_schema": schema,
        "use_copy": True,
        "validate_records": False,
        **settings,
    }
    config = folder / "config.json"
    config.write_text(json.dumps(target), encoding="utf-8")
    OF_TARGET(TARGET_POSTGRES, "--config", config, folder=folder, given=written)

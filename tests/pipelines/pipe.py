"""The plain Singer pipe: the tap as a process, its messages, and a target that reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from demo.environment import clean_environment
from demo.pipeline import PROJECT
from tests.pipelines.expected_events import CUSTOMER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from barchart_events_emulator import Emulator
    from demo.postgres_server import Postgres

TARGET_POSTGRES = PROJECT / ".meltano/loaders/target-postgres/venv/bin/target-postgres"


def settings_of(emulator: Emulator, **more: Any) -> dict[str, Any]:
    """Return the tap's settings for an emulator.

    Args:
        emulator: The service.
        more: Further settings.
    """
    return {
        "api_url": emulator.api_url,
        "username": emulator.username,
        "password": emulator.password,
        "customer": CUSTOMER,
        "poll_interval_seconds": 0.05,
        **more,
    }


def messages(settings: Mapping[str, Any], folder: Path) -> bytes:
    """Run the tap to its end and return what it wrote to stdout.

    Args:
        settings: The tap's settings.
        folder: Where the settings are put down.
    """
    return _run([sys.executable, "-m", "tap_barchart_events"], settings, folder, b"")


def load_into_postgres(
    written: bytes,
    postgres: Postgres,
    schema: str,
    folder: Path,
    **settings: Any,
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
    _run([str(TARGET_POSTGRES)], target, folder, written)


def _run(
    command: list[str],
    settings: Mapping[str, Any],
    folder: Path,
    written: bytes,
) -> bytes:
    config = folder / "config.json"
    config.write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run(
        [*command, "--config", str(config)],
        cwd=folder,
        env=clean_environment(),
        input=written,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    return done.stdout

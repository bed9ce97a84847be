"""The SDK's standard tap tests, and what singer-check-tap says of the tap's output."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from singer_sdk.testing import SuiteConfig, get_tap_test_class

from barchart_events_emulator import Emulator
from tap_barchart_events.tap import TapBarchartEvents
from tests.settings_pages import PROJECT
from tests.tap_runs import COMMAND, Tap

# The emulator puts its URL in here: the SDK's test class keeps this very dictionary.
CONFIG: dict[str, Any] = {
    "username": "emulator",
    "password": "loopback only",
    "customer": "TGAM",
    "products": ["PORTFOLIO", "WATCHLIST"],
    "start_date": "2026-03-02T00:00:00Z",
    "end_date": "2026-03-02T06:00:00Z",
    "window_hours": 2,
    "poll_interval_seconds": 0.02,
    "api_url": "http://127.0.0.1:1",
}


@pytest.fixture(scope="module", autouse=True)
def service() -> Iterator[None]:
    # A column that the tap does not know gives `extra` values to look at.
    with Emulator(header=True, added_column="abTest") as emulator:
        CONFIG["api_url"] = emulator.api_url
        yield


TestStandard = get_tap_test_class(
    TapBarchartEvents,
    config=CONFIG,
    suite_config=SuiteConfig(max_records_limit=None),
    parse_env_config=False,
)


def test_singer_check_tap_accepts_what_the_tap_writes(tmp_path: Path) -> None:
    outcome = Tap(tmp_path, CONFIG, program=COMMAND).end()
    tools = PROJECT / ".venv-singer-tools" / "bin"
    checked = subprocess.run(
        # By its interpreter: the script's own first line cannot have a space in a path.
        [tools / "python", tools / "singer-check-tap"],
        input=outcome.written,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr.decode()
    said = checked.stdout.decode()
    assert "The output is valid." in said
    assert outcome.records
    assert f"{len(outcome.records)} record messages" in said

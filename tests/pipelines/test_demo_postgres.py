"""`make demo-postgres` ends well, and says so by its exit code and in words."""

from __future__ import annotations

import sys

from tests.project.commands import ran


def test_the_demo_into_postgres_shows_all_that_the_service_holds() -> None:
    done = ran(sys.executable, "-m", "demo.postgres")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All events of the service were loaded, once." in done.stdout
    assert done.stdout.count("meltano run ") == 2
    assert "users" in done.stdout
    assert "sessions" in done.stdout

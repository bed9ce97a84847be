"""The tests read no settings of their user, and reach no network but loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.environment import clean_environment

PROJECT = Path(__file__).resolve().parents[2]
FOREIGN = {
    "TAP_BARCHART_EVENTS_API_URL": "http://127.0.0.1:9",
    "TAP_BARCHART_EVENTS_PASSWORD": "the user's",
    "PGHOST": "db.example.com",
    "MELTANO_ENVIRONMENT": "prod",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "AWS_SECRET_ACCESS_KEY": "the user's",
}

CONFTEST = """
from tests import isolation
from tests.isolation import loopback_only, own_folder, pytest_report_header
isolation.forget_the_users_settings()
isolation.enter_loopback_network()
"""
ATTEMPTS = """
import os, socket, subprocess, sys
import pytest

CONNECT = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"

def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), 5).close()

def test_process_connects():
    assert subprocess.run([sys.executable, "-c", CONNECT], capture_output=True).returncode == 1

def test_connects_over_ipv6():
    with pytest.raises(OSError), socket.socket(socket.AF_INET6) as client:
        client.connect(("2001:db8::1", 80))

def test_sends():
    with pytest.raises(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"a query", ("192.0.2.53", 53))

def test_passes_after_all():
    pass
"""
SETTINGS = """
import os
from dotenv import dotenv_values, find_dotenv

def test_no_variable_and_no_file_of_the_user_is_read():
    assert not {foreign!r} & os.environ.keys()
    assert dotenv_values(find_dotenv(usecwd=True)) == {{}}
"""


def run_tests(folder: Path, tests: str, *arguments: str, **more: str) -> str:
    """Run tests in a pytest of their own, isolated as these are; return what it prints."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_inner.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=clean_environment(PYTHONPATH=str(PROJECT), **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_an_attempt_of_any_process_to_reach_another_host_fails_the_test(
    tmp_path: Path, workers: str
) -> None:
    output = run_tests(tmp_path, ATTEMPTS, workers)
    if "no network namespace" in output:
        pytest.skip("the kernel permits no network namespace")
    failed = re.findall(r"^ERROR test_inner.py::(\w+) - Failed: \d+ attempts", output, re.MULTILINE)
    assert sorted(failed) == ["test_connects_over_ipv6", "test_process_connects", "test_sends"]
    assert "5 passed, 3 errors" in output


def test_the_users_settings_are_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAP_BARCHART_EVENTS_API_URL=http://127.0.0.1:9\n")
    output = run_tests(tmp_path, SETTINGS.format(foreign=set(FOREIGN)), "-n0", **FOREIGN)
    assert "1 passed" in output


def test_a_process_gets_none_of_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    made = clean_environment(PATH="/bin", PGHOST="a socket")
    assert {name: made[name] for name in made.keys() & {*FOREIGN, "PATH"}} == {
        "PATH": "/bin",
        "PGHOST": "a socket",
    }

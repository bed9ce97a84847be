"""The tests read no settings of their user, and reach no network but loopback."""

import re
import sys
from pathlib import Path

import pytest

from demo.pipeline import PROJECT
from tests.project.commands import output_of

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
TESTS = """
import os, socket, subprocess, sys
import pytest
from dotenv import dotenv_values, find_dotenv

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

def test_reads_no_variable_and_no_file_of_the_user():
    assert not {FOREIGN} & os.environ.keys()
    assert dotenv_values(find_dotenv(usecwd=True)) == {}
"""


def test_the_tests_reach_no_other_host_and_read_no_settings_of_their_user(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAP_BARCHART_EVENTS_API_URL=http://127.0.0.1:9\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_inner.py").write_text(TESTS.replace("{FOREIGN}", repr(set(FOREIGN))))
    pytest_command = (sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "-n2")
    environ = {"PYTHONPATH": str(PROJECT), **FOREIGN}
    output = output_of(*pytest_command, code=1, folder=tmp_path, environ=environ)
    if "no network namespace" in output:
        pytest.skip("the kernel permits no network namespace")
    failed = re.findall(r"^ERROR test_inner.py::(\w+) - Failed: \d+ attempts", output, re.MULTILINE)
    assert sorted(failed) == ["test_connects_over_ipv6", "test_process_connects", "test_sends"]
    assert "5 passed, 3 errors" in output

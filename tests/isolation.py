"""Keeps the tests from their user's settings, and from every network but loopback.

On Linux, this process and all that it starts get a network of their own, which has nothing but
loopback, and the kernel counts what they try to send elsewhere: a test during which that number
grows fails. Where the kernel does not permit that, only connections of this process are
checked, and the header of the test run says so.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from demo.environment import clean_environment

_NEW_NETWORK = 0x40000000
_NEW_USER = 0x10000000
_SET_FLAGS = 0x8914
_UP = 0x1

_KEPT = ("CI", "CRASH_SEED", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
_KEPT_PREFIXES = ("COV", "HYPOTHESIS", "PY_COLORS", "PYTEST_")
INHERITED = "PYTEST_HAS_ONLY_LOOPBACK"

_refused: list[str] = []
"""Addresses that this process tried to connect to, where only this process is checked."""


def forget_the_users_settings() -> None:
    """Remove from the environment what no test may depend on."""
    kept = {n: v for n, v in os.environ.items() if n in _KEPT or n.startswith(_KEPT_PREFIXES)}
    kept |= clean_environment()
    for name in set(os.environ) - set(kept):
        del os.environ[name]


def enter_loopback_network() -> None:
    """Move this process, and what it starts, into a network that has only loopback."""
    with suppress(AttributeError, OSError):
        _unshare()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14x", b"lo", _UP))
        os.environ[INHERITED] = "1"
    # A worker of pytest-xdist that may not do so is in the network of its parent.
    if INHERITED not in os.environ:
        sys.addaudithook(_refuse)


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK) == 0:
        return
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_NETWORK | _NEW_USER):
        raise OSError(ctypes.get_errno(), "unshare")
    process = Path("/proc/self")
    (process / "setgroups").write_text("deny")
    (process / "uid_map").write_text(f"{user} {user} 1")
    (process / "gid_map").write_text(f"{group} {group} 1")


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in {"127.0.0.1", "::1", "localhost"}:
            _refused.append(str(address[0]))
            raise ConnectionRefusedError(f"tests connect to loopback only, not to {address[0]}")


def attempts() -> int:
    """Return how often something was sent to another host than this one, in vain, so far."""
    if INHERITED not in os.environ:
        return len(_refused)
    network = Path("/proc/thread-self/net")
    names, numbers = (
        line.split() for line in (network / "snmp").read_text().splitlines() if line[:3] == "Ip:"
    )
    six = dict(line.split() for line in (network / "snmp6").read_text().splitlines())
    return int(dict(zip(names, numbers, strict=True))["OutNoRoutes"]) + int(six["Ip6OutNoRoutes"])


def pytest_report_header() -> str:
    """Say what is checked."""
    if INHERITED in os.environ:
        return "network: loopback only, for all processes"
    return "network: loopback only, but checked for this process alone (no network namespace)"


@pytest.fixture(autouse=True, scope="session")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run in a folder without settings: the search for a .env file ends at this empty one."""
    folder = tmp_path_factory.getbasetemp()
    (folder / ".env").touch()
    os.chdir(folder)


@pytest.fixture(autouse=True)
def loopback_only() -> Iterator[None]:
    """Fail a test during which a process tries to reach another host."""
    before = attempts()
    yield
    tried = attempts() - before
    if tried:
        pytest.fail(f"{tried} attempts to reach another host than loopback", pytrace=False)

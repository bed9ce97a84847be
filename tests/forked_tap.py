"""The command as a process that is forked from one that has imported the tap, so it starts at once.

An import takes a second or two, and the tests run the command some hundred times. A forked process
is a child of the tests, with a program's own streams, folder, environment and signals.
"""

import atexit
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from demo.environment import clean_environment
from tap_barchart_events.exports.jobs import JobPolicy

QUICK = JobPolicy(
    waits=(0.05, 0.1, 0.2), forgotten_grace=0, forgotten_timeout=60, job_seconds_max=5
)
"""The usual pauses before new jobs outlive an outage of minutes, for which no test waits."""

_PROJECT = Path(__file__).parents[1]
_SET_CHILD_SUBREAPER = 36


class ForkedTap(subprocess.Popen[bytes]):
    """``subprocess.Popen`` of the command; the first argument is ``quick``, or empty."""

    def _execute_child(self, args: Sequence[str], *options: Any) -> None:
        folder, environ, pipes = options[4], options[5], options[9:15]
        request = json.dumps([[*args], str(folder), environ]).encode()
        server, process_control = _server(), ctypes.CDLL(None).prctl
        process_control(_SET_CHILD_SUBREAPER, 1)
        try:
            socket.send_fds(server, [request], [pipes[0], pipes[3], pipes[5]])
            self.pid = int(server.recv(64))
            server.recv(64)  # whoever forked it has ended, so it is a child of this process
        finally:
            process_control(_SET_CHILD_SUBREAPER, 0)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]  # as the method replaced does


@cache
def _server() -> socket.socket:
    """Start the process that forks; return the connection to it, whose end is its end."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.forked_tap", str(there.fileno())],
            cwd=_PROJECT,
            # A library's threads would not be there after a fork.
            env=clean_environment(OPENBLAS_NUM_THREADS="1"),
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
        )
    atexit.register(server.wait)
    atexit.register(here.close)
    return here


def _request(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Fork for each request; return it in the process that is to be the command."""
    while True:
        request, streams, *_ = socket.recv_fds(connection, 1 << 17, 3)
        if not request:
            os._exit(0)
        parent = os.fork()
        if not parent:
            command = os.fork()
            if not command:
                return request, streams
            connection.send(str(command).encode())
            os._exit(0)
        os.waitpid(parent, 0)
        connection.send(b"ended")
        for stream in streams:
            os.close(stream)


def _run(connection: socket.socket) -> None:
    """Import all that the command needs; run it in each process forked."""
    import duckdb  # noqa: F401 - the tap imports it when it has a file

    import tap_barchart_events.tap  # noqa: F401
    from tap_barchart_events.__main__ import main
    from tap_barchart_events.streams import EventsStream

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    request, streams = _request(connection)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    (is_quick, *sys.argv[1:]), folder, environ = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    if is_quick:
        EventsStream.policy = QUICK
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    # As Python ends, but without the time that it takes to free all that was imported.
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - multiprocessing does so
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _run(socket.socket(fileno=int(sys.argv[1])))

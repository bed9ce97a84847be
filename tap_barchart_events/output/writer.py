"""stdout as whole Singer messages, and the signals that end them. Knows no stream.

A target must never read a torn line, also when the tap is told to end while the pipe is
full. So a pipe is only ever given whole lines for which it has room: such a write is atomic
and never blocks. ``PIPE_BUF`` bytes have room when poll() says so (pipe(7)); Linux tells more.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import stat
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.singerlib import RecordMessage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from singer_sdk.singerlib.messages import Message

if sys.platform == "linux":
    import fcntl
    import termios

PIECE = 1 << 18
"""How many bytes of RECORD messages are gathered before they are written."""

GRACE = 3.0
"""Seconds to write what is left to write after a signal: the rest of a line, the STATE."""

CLOSED = 141
"""Exit code when stdout was closed: 128 + SIGPIPE."""


SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)
]
"""What tells the tap to end."""


class Interrupted(SystemExit):
    """The tap was told to end by a signal; the exit code is 128 + the signal's number."""


@contextmanager
def signals_held() -> Iterator[None]:
    """Let signals wait while what may not be left half done is done, in the main thread.

    To mask them would not do: they then reach the thread of some library, and their handlers
    run in the main thread all the same.
    """
    waiting: list[int] = []
    here = threading.current_thread() is threading.main_thread()
    numbers = SIGNALS if here else []
    before = {n: signal.signal(n, lambda number, _: waiting.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in waiting:
            signal.raise_signal(number)


def stderr_has_room() -> bool:
    """Tell whether stderr can be written to without waiting for who reads it."""
    if not hasattr(select, "poll"):
        return True
    room = select.poll()
    room.register(2, select.POLLOUT)
    return bool(room.poll(0))


class MessageWriter(MsgSpecWriter):
    """Writes messages to stdout. RECORD messages are gathered, all others written at once."""

    def __init__(self) -> None:
        """Start with nothing gathered."""
        super().__init__()
        self._gathered = bytearray()
        self._mid_line = False
        self._signal: int | None = None
        self._until = 0.0
        self._last_pipe: Pipe | None = None

    def interrupt(self, signum: int, frame: FrameType | None = None) -> None:  # noqa: ARG002
        """Handle a signal: end between two messages. A second signal changes nothing.

        Raises:
            Interrupted: At once, or after the line that is being written.
        """
        if self._signal is None:
            self._signal = signum
            self._until = time.monotonic() + GRACE
            if not stderr_has_room():
                logging.disable()  # it would be waited for without end
            if not self._mid_line:
                raise Interrupted(128 + signum)

    @property
    def interrupted(self) -> Interrupted | None:
        """What to raise when a signal has come, though something on its way swallowed it."""
        return Interrupted(128 + self._signal) if self._signal else None

    def write_message(self, message: Message) -> None:
        """Write a message, or gather it if it is a RECORD."""
        self._gathered += self.format_message(message)
        if not isinstance(message, RecordMessage) or len(self._gathered) >= PIECE:
            self.flush()

    def write_lines(self, lines: bytes) -> None:
        """Write finished messages, each a whole line."""
        self.flush()
        self._write(lines)

    def flush(self) -> None:
        """Write what was gathered."""
        lines, self._gathered = self._gathered, bytearray()
        if lines:
            self._write(lines)

    def discard(self) -> None:
        """Forget what was gathered."""
        self._gathered = bytearray()

    def _write(self, lines: bytes | bytearray) -> None:
        if self._mid_line:  # and it will not be finished: nothing may follow it
            raise Interrupted(128 + (self._signal or 0))
        stream = sys.stdout.buffer
        try:
            pipe = self._pipe(stream)
            if pipe is None:
                stream.write(lines)
                stream.flush()
            elif pipe.is_terminal:
                self._write_long_line(pipe, memoryview(lines))
            else:
                self._write_to_pipe(pipe, lines)
        except (BrokenPipeError, ConnectionResetError):
            # Nobody reads any more, so there is nobody to tell.
            raise Interrupted(CLOSED) from None

    def _pipe(self, stream: BinaryIO) -> Pipe | None:
        """Return the pipe, socket or terminal that a stream writes to, if it is one."""
        try:
            descriptor = stream.fileno()
        except OSError:  # captured by a test, say
            return None
        status = os.fstat(descriptor)
        waits = stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)
        if not (waits or os.isatty(descriptor)) or not hasattr(select, "poll"):
            return None
        stream.flush()
        identity = descriptor, status.st_ino
        if self._last_pipe is None or self._last_pipe.identity != identity:
            self._last_pipe = Pipe(identity)
        return self._last_pipe

    def _write_to_pipe(self, pipe: Pipe, lines: bytes | bytearray) -> None:
        view, at, end = memoryview(lines), 0, len(lines)
        while at < end:
            self._wait_for(pipe)
            until = min(at + pipe.room(), end)
            if until < end:
                until = lines.rfind(b"\n", at, until) + 1 or at
            if until > at:
                at += pipe.write(view[at:until])
                continue
            until = lines.find(b"\n", at) + 1
            if until - at <= pipe.capacity:
                self._wait_for(pipe, until - at)
                at += pipe.write(view[at:until])
            else:
                self._write_long_line(pipe, view[at:until])
                at = until

    def _write_long_line(self, pipe: Pipe, line: memoryview) -> None:
        """Write what no pipe can hold at once, or a terminal; a signal waits for its end."""
        self._mid_line = True
        already = self._signal
        at = 0
        while at < len(line):
            self._wait_for(pipe)
            at += pipe.write(line[at : at + select.PIPE_BUF])
        self._mid_line = False
        if self._signal and not already:
            raise Interrupted(128 + self._signal)

    def _wait_for(self, pipe: Pipe, size: int = select.PIPE_BUF) -> None:
        """Wait for room in the pipe; after a signal, no longer than the grace."""
        while True:
            for _, events in pipe.poll(100):
                if pipe.room() >= size or events & select.POLLERR:  # nobody reads any more
                    return
                time.sleep(0.001)  # there is room, but not yet enough
            if self._signal and time.monotonic() > self._until:
                raise Interrupted(128 + self._signal)


class Pipe:
    """A pipe, and how much room it surely has. This process is the only one that writes to it.

    Linux keeps what is in a pipe in so many slots of a page each. All of them are full but the
    last one of each write, and the one being read. Of a socket no more is known than poll()
    says: ``PIPE_BUF`` bytes have room there, too. In a terminal it may be a single one.
    """

    def __init__(self, identity: tuple[int, int]) -> None:
        """Take a descriptor, and the number of the file that it leads to."""
        self.identity = identity
        self._descriptor = identity[0]
        self.is_terminal = os.isatty(self._descriptor)
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        self.poll = room.poll
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._slots = 0
        if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(self._descriptor).st_mode):
            self._slots = fcntl.fcntl(self._descriptor, fcntl.F_GETPIPE_SZ) // self._page
        self.capacity = max(select.PIPE_BUF, (self._slots - 1) * self._page)
        """How many bytes can be written at once when it is empty."""
        # Until it has been seen empty, others may have left any number of slots half full.
        self._writes = self._slots

    def room(self) -> int:
        """Return how many bytes can be written at once, if poll() says that any can."""
        free = 0
        if sys.platform == "linux" and self._slots:
            held = fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(4))
            waiting = int.from_bytes(held, sys.byteorder)
            if not waiting:
                self._writes = 0
            free = self._slots - waiting // self._page - self._writes - 1
        return max(select.PIPE_BUF, free * self._page)

    def write(self, some: memoryview) -> int:
        """Write what there is room for; return its length."""
        self._writes += 1
        return os.write(self._descriptor, some)

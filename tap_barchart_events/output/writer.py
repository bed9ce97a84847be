"""Whole Singer messages on stdout, also when a signal ends the tap. Depends on no stream.

A signal does not end a write in the middle of a line: the writer finishes the line if the reader
takes it within ``GRACE`` seconds. A reader that reads nothing for longer may get an incomplete last
line, and nothing follows it.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import sys
import time
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.singerlib import RecordMessage

from tap_barchart_events.exceptions import OutputError
from tap_barchart_events.output.signals import (
    CLOSED,
    Interrupted,
    stderr_is_writable,
    wake_blocked_calls,
)

if TYPE_CHECKING:
    from types import FrameType

    from singer_sdk.singerlib.messages import Message

CHUNK_BYTES = 1 << 18
"""How many bytes of RECORD messages are collected before they are written."""

GRACE = 3.0
"""Seconds after a signal in which the rest of a line, and the STATE, can be written."""

PIPE_BUF = getattr(select, "PIPE_BUF", 512)

NEWLINE = ord("\n")

WRITE_BYTES = 1 << 14
"""Bytes that are written to a pipe at once: fewer would wake the reader too often."""

POLL_MILLISECONDS = 100
"""Longest wait for the reader before the writer checks for signals."""


class MessageWriter(MsgSpecWriter):
    """Writes messages to stdout. RECORD messages are collected, all others written at once."""

    def __init__(self) -> None:
        """Start with nothing collected."""
        super().__init__()
        self._collected = bytearray()
        self._is_writing = False
        self._ended: Exception | Interrupted | None = None
        self._signal: int | None = None
        self._deadline = 0.0

    def interrupt(self, signum: int, frame: FrameType | None = None) -> None:
        """Handle a signal: end between two messages. A second signal changes nothing.

        Raises:
            Interrupted: At once; while a message is being written, after its line.
        """
        if self._signal is None:
            self._signal = signum
            self._deadline = time.monotonic() + GRACE
            if not stderr_is_writable():
                logging.disable()  # a log line would wait for the reader without end
            if not self._is_writing:
                raise Interrupted(128 + signum)

    @property
    def interrupted(self) -> Interrupted | None:
        """What to raise if a signal has come and its exception was lost on the way."""
        return Interrupted(128 + self._signal) if self._signal else None

    def write_message(self, message: Message) -> None:
        """Write a message, or collect it if it is a RECORD."""
        self._collected += self.format_message(message)
        if not isinstance(message, RecordMessage) or len(self._collected) >= CHUNK_BYTES:
            self.flush()

    def write_lines(self, lines: bytes) -> None:
        """Write finished messages, each a whole line."""
        self.flush()
        self._write(lines)

    def flush(self) -> None:
        """Write what was collected."""
        lines, self._collected = self._collected, bytearray()
        if lines:
            self._write(lines)

    def discard(self) -> None:
        """Drop what was collected."""
        self._collected = bytearray()

    def _write(self, lines: bytes | bytearray) -> None:
        """Write whole lines.

        Raises:
            Interrupted: A signal came, or stdout is closed.
            OutputError: stdout cannot be written to.
        """
        if self._ended:  # nothing may follow an incomplete line
            raise self._ended
        came_before = self._signal
        self._is_writing = True
        wake_blocked_calls(every=0.5)
        at, end = 0, len(lines)
        try:
            stdout = Stdout(lines)
            while at < end:
                if self._signal and not came_before and (not at or lines[at - 1] == NEWLINE):
                    break
                written = stdout.write_some(at, PIPE_BUF if self._signal else WRITE_BYTES)
                if not written and self._signal and time.monotonic() > self._deadline:
                    self._ended = self.interrupted
                    break
                at += written
        except (BrokenPipeError, ConnectionResetError):
            self._ended = Interrupted(CLOSED)
        except OSError as error:
            self._ended = OutputError(
                f"could not write to stdout: {error.strerror or error}; free space where the "
                "output goes, and run again with the last STATE in it"
            )
        finally:
            wake_blocked_calls(every=0)
            self._is_writing = False
        if self._ended:
            raise self._ended
        if self._signal and not came_before:
            raise Interrupted(128 + self._signal)


class Stdout:
    """Where stdout leads to: a pipe, socket or terminal, whose reader may stop, or a file."""

    def __init__(self, lines: bytes | bytearray) -> None:
        """Look at what stdout is now; take the lines to be written."""
        self._lines = lines
        self._view = memoryview(lines)
        self._stream = sys.stdout.buffer
        self._stream.flush()
        self._descriptor: int | None = None
        self._poll: select.poll | None = None
        self._is_file = False
        try:
            self._descriptor = self._stream.fileno()
        except OSError:  # captured by a test, say
            return
        mode = os.fstat(self._descriptor).st_mode
        self._is_file = stat.S_ISREG(mode)
        has_reader = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(self._descriptor)
        if has_reader and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def write_some(self, at: int, size: int) -> int:
        """Write lines, or a part of one, from an offset on.

        Args:
            at: The offset.
            size: Bytes that are written at most if a reader may delay the write. ``PIPE_BUF``
                bytes fit into a pipe whenever poll() reports it as writable (pipe(7)).

        Returns:
            How many bytes were written; 0 if the pipe is full.
        """
        if self._descriptor is None:
            written = self._stream.write(self._view[at:])
            self._stream.flush()
            return written
        end = None
        if self._poll is not None:
            if not self._poll.poll(POLL_MILLISECONDS):
                return 0
            end = at + size
            end = self._lines.rfind(b"\n", at, end) + 1 or end
        try:
            return os.write(self._descriptor, self._view[at:end])
        except BlockingIOError:
            return 0
        except OSError:
            if self._is_file:
                self._remove_partial_line(at - (self._lines.rfind(b"\n", 0, at) + 1))
            raise

    def _remove_partial_line(self, size: int) -> None:
        """Remove the beginning of a line, whose rest did not fit, from the end of a file."""
        descriptor = self._descriptor or 0
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if end == os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, end - size)
            os.lseek(descriptor, end - size, os.SEEK_SET)

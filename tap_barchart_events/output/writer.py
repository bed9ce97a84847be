"""Whole Singer messages on stdout, also when a signal ends the tap. Depends on no stream."""

import sys

from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.singerlib.messages import Message, RecordMessage

from tap_barchart_events.exceptions import OutputError
from tap_barchart_events.output.signals import CLOSED, Interrupted, Signals

CHUNK_BYTES = 1 << 18
"""How many bytes of RECORD messages are collected before they are written."""


class MessageWriter(MsgSpecWriter):
    """Writes messages to stdout. RECORD messages are collected, all others written at once."""

    def __init__(self) -> None:
        """Start with nothing collected."""
        super().__init__()
        self.signals = Signals()
        """They take effect between two messages."""
        self._collected = bytearray()

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

    def _write(self, lines: bytes | bytearray) -> None:
        """Write whole lines, however long the reader takes.

        Raises:
            Interrupted: A signal came, or stdout is closed.
            OutputError: stdout cannot be written to.
        """
        # Without Python's buffer, nothing is left to be written again at exit.
        stdout = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        left = memoryview(lines)
        with self.signals.deferred():
            try:
                while left:
                    left = left[stdout.write(left) :]
            except (BrokenPipeError, ConnectionResetError):
                raise Interrupted(CLOSED) from None
            except OSError as error:
                raise OutputError(
                    f"could not write to stdout: {error.strerror or error}; free space where the "
                    "output goes, and run again with the last STATE in it"
                ) from None

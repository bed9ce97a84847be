"""The signals that end the tap, and the temporary files that are removed with it.

Depends on no stream and no message.
"""

import logging
import os
import select
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SIGNALS = [s for s in signal.Signals if s.name in {"SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"}]
"""The signals that end the tap."""

CLOSED = 141
"""Exit code when stdout was closed: 128 + SIGPIPE."""

ONE_SIGNAL_SECONDS = 1.0
"""Signals this soon after the first one count as the same signal: after one Ctrl-C, a tap under
Meltano gets SIGINT and, 27 ms later, SIGTERM."""


class Interrupted(SystemExit):
    """A signal has ended the tap; the exit code is 128 + the signal's number."""


class Signals:
    """The handler of all signals: the first one ends the tap, a later one ends it at once."""

    folder: Path | None = None
    """The temporary files, which are removed when the tap is ended at once."""

    def __init__(self) -> None:
        """Begin without a signal."""
        self._number: int | None = None
        self._came = 0.0
        self._is_deferred = False

    @property
    def interrupted(self) -> Interrupted | None:
        """What to raise if a signal has come and its exception was lost on the way."""
        return Interrupted(128 + self._number) if self._number else None

    def handle(self, signum: int, frame: Any = None) -> None:
        """Handle a signal; a second one, a second after the first or later, ends at once.

        Raises:
            Interrupted: It is the first one, and not deferred.
        """
        if self._number is None:
            self._came = time.monotonic()
            self._number = signum
            _, writable, _ = select.select([], [2], [], 0)
            if not writable:  # a log line could wait forever for stderr's reader
                logging.disable()
            if not self._is_deferred:
                raise Interrupted(128 + signum)
        elif time.monotonic() - self._came >= ONE_SIGNAL_SECONDS:
            self._remove_folder()
            os._exit(128 + signum)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let a block finish before the first signal takes effect.

        Raises:
            Interrupted: A signal came, in the block or before it.
        """
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        if self.interrupted:
            raise self.interrupted

    @contextmanager
    def private_folder(self) -> Iterator[Path]:
        """Make a temporary folder that only its owner can read, and remove it with its content."""
        try:
            with self.deferred():
                self.folder = folder = Path(tempfile.mkdtemp(prefix="tap-barchart-events-"))
            yield folder
        finally:
            # Only the first signal raises, so at least one of the two calls completes.
            try:
                self._remove_folder()
            finally:
                self._remove_folder()

    def _remove_folder(self) -> None:
        if self.folder:
            removed = self.folder.with_name(f"{self.folder.name}-removed")
            with suppress(OSError):  # a thread still at work then adds no file
                self.folder.rename(removed)
            shutil.rmtree(removed, ignore_errors=True)


def handle_signals(handler: Callable[[int, Any], None]) -> None:
    """Set the handler of each signal; only the main thread can do so.

    A signal that the caller has set to be ignored, as nohup does, stays ignored, except SIGTERM.
    """
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)

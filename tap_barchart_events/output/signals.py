"""The signals that end the tap, and how they are handled. Knows no stream and no message."""

from __future__ import annotations

import select
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)
]
"""The signals that end the tap."""

CLOSED = 141
"""Exit code when stdout was closed: 128 + SIGPIPE."""


class Interrupted(SystemExit):
    """A signal has ended the tap; the exit code is 128 + the signal's number."""


def ignored_signals() -> set[int]:
    """Return the signals that the caller has it ignore, as nohup does; never SIGTERM."""
    return {n for n in SIGNALS if signal.getsignal(n) is signal.SIG_IGN} - {signal.SIGTERM}


def handle_signals(handler: Callable[[int, FrameType | None], None], ignored: set[int]) -> None:
    """Have a handler called for each signal but those ignored; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else handler)
        if hasattr(signal, "SIGALRM"):
            signal.signal(signal.SIGALRM, _wake)


def wake_blocked_calls(every: float) -> None:
    """Interrupt blocked calls of the main thread from now on; 0 ends that.

    A signal that comes just before a call blocks would otherwise be noticed only after it.

    Args:
        every: Seconds.
    """
    if hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is _wake:
        signal.setitimer(signal.ITIMER_REAL, every, every)


def _wake(signum: int, frame: FrameType | None) -> None:
    pass


def interrupt(signum: int, frame: FrameType | None) -> None:
    """End the tap at once, where nothing has been written yet.

    Raises:
        Interrupted: Always.
    """
    raise Interrupted(128 + signum)


@contextmanager
def signals_held() -> Iterator[None]:
    """Delay signals while something is done that must not be left half done, in the main thread.

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


def stderr_is_writable() -> bool:
    """Tell whether a line can be written to stderr without waiting for its reader."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    return bool(poll.poll(0))

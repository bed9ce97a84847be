"""The signals that end the tap, and their handlers. Depends on no stream and no message."""

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
    """Return the signals that the caller has set to be ignored, as nohup does; never SIGTERM."""
    return {n for n in SIGNALS if signal.getsignal(n) is signal.SIG_IGN} - {signal.SIGTERM}


def handle_signals(handler: Callable[[int, FrameType | None], None], ignored: set[int]) -> None:
    """Set the handler of each signal but the ignored ones; only the main thread can do so."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else handler)
        if hasattr(signal, "SIGALRM"):
            signal.signal(signal.SIGALRM, _wake)


def wake_blocked_calls(every: float) -> None:
    """Interrupt blocked calls of the main thread from now on; 0 ends that.

    A signal that comes just before a call blocks would otherwise be handled only after the call.

    Args:
        every: Seconds.
    """
    if hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is _wake:
        signal.setitimer(signal.ITIMER_REAL, every, every)


def _wake(signum: int, frame: FrameType | None) -> None:
    pass


def interrupt(signum: int, frame: FrameType | None) -> None:
    """End the tap at once; for the time before the first message.

    Raises:
        Interrupted: Always.
    """
    raise Interrupted(128 + signum)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Delay signals while a library sets handlers of its own, which are replaced before the end.

    Unlike ``signals_held`` this holds whatever handlers are set. A thread of a library could still
    get a signal, so it is for the start, when there is none.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_held() -> Iterator[None]:
    """Delay signals until the block ends, in the main thread.

    A signal mask does not suffice: another thread then receives the signal, and Python runs the
    handler in the main thread all the same.
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
    """Return whether a line can be written to stderr without waiting for its reader."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    return bool(poll.poll(0))

"""How often, and after which pauses, a call is retried. Makes no call itself."""

from __future__ import annotations

import itertools
import logging
import math
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import backoff
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from tap_barchart_events.exceptions import ServiceError, SyncStopped

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_RETRY_AFTER = 10**9
"""Longest ``Retry-After``, in seconds: a longer one stands for no time either."""

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransientError(ServiceError):
    """A failure that may be temporary: the call is retried."""

    timeout: float | None = None
    """Seconds after the first try within which the last one has to begin, if less than usual."""

    advice = "run again later: the next run continues from the bookmark"
    """What to do when the tries are used up."""

    def __init__(
        self, message: str, retry_after: float | None = None, status: int | None = None
    ) -> None:
        """Keep the seconds of ``Retry-After``, if the response had one, and the HTTP status."""
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class UnreachableError(TransientError):
    """The host is unknown, has no route, or refuses connections."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and for how long, a call is retried. Pauses double, with full jitter."""

    attempts: int = 9
    """Tries, the first one included."""

    timeout: float = 600
    """No further try begins later than this after the first one, in seconds."""

    wait_initial: float = 1
    """Upper bound of the first pause, in seconds; the next ones double."""

    wait_max: float = 60
    """Upper bound of all pauses, in seconds; a ``Retry-After`` may be longer."""

    def run(self, call: Callable[[], T], stopped: threading.Event) -> T:
        """Call until it does not raise ``TransientError``.

        A pause is never shorter than ``Retry-After``. If that exceeds ``timeout``, no further try
        is made.

        Raises:
            ServiceError: The last failure, when no further try is allowed.
            SyncStopped: The sync is ending.
        """
        began = time.monotonic()
        for attempt in itertools.count(1):
            if stopped.is_set():
                raise SyncStopped
            try:
                return call()
            except TransientError as error:
                last = error
            ceiling = min(self.wait_initial * 2.0 ** min(attempt - 1, 64), self.wait_max)
            pause = max(backoff.full_jitter(ceiling), last.retry_after or 0)
            timeout = self.timeout if last.timeout is None else min(last.timeout, self.timeout)
            if attempt >= self.attempts:
                why = "setting max_retries"
                break
            if time.monotonic() - began + pause > timeout:
                why = f"no try begins after {timeout:g} s"
                if pause > ceiling:
                    why = f"Retry-After is {pause:.0f} s"
                break
            logger.warning("%s; try %d of %d in %.1f s", last, attempt + 1, self.attempts, pause)
            if stopped.wait(pause):
                raise SyncStopped
        tries = "1 try" if attempt == 1 else f"{attempt} tries"
        raise ServiceError(f"{last}; given up after {tries} ({why}); {last.advice}")


class StartPause:
    """Until when no start may be sent, by the ``Retry-After`` of refused ones."""

    until = -math.inf
    """In seconds of the monotonic clock."""

    def extend(self, seconds: float) -> None:
        """Begin a pause, unless a longer one is under way."""
        self.until = max(self.until, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds that the pause still lasts; 0 if none is under way."""
        return max(0.0, self.until - time.monotonic())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a ``Retry-After`` header (RFC 9110, 10.2.3); None if it has none.

    A date in it counts from the response's own ``Date``, so that a machine's clock that is ahead
    does not shorten the pause. Without a ``Date`` it counts from the machine's clock.
    """
    value = headers.get("Retry-After", "")
    try:
        pause = parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])
        return min(max(pause.total_seconds(), 0), LONGEST_RETRY_AFTER)
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    try:
        return min(Retry().parse_retry_after(value), LONGEST_RETRY_AFTER)
    except (InvalidHeader, ValueError, OverflowError):
        return None

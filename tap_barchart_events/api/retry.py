"""How often, and after which pauses, a call is retried. Makes no call itself."""

from __future__ import annotations

import itertools
import logging
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
    from collections.abc import Callable, Generator, Mapping

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_RETRY_AFTER = 10**9
"""Longest ``Retry-After``, in seconds: a longer one stands for no time either."""

REFUSALS = frozenset({429, 503})
"""Statuses by which the service refuses one more job, beside those in flight."""

NEXT_TRY = "%s; try %d of %d in %.1f s"
"""The log line of a failure that is retried."""

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransientError(ServiceError):
    """A failure that may be temporary: the call is retried."""

    advice = "run again later: the next run continues from the bookmark"
    """What to do when the tries are used up."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """Keep the seconds of ``Retry-After``, if the response had one."""
        super().__init__(message)
        self.retry_after = retry_after


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

    def run(self, call: Callable[[], T], stopped: threading.Event, *, answers: bool = True) -> T:
        """Call until it does not raise ``TransientError``.

        Args:
            call: The call.
            stopped: Ends the pauses when set.
            answers: Whether a call that was answered is retried as well.

        Raises:
            ServiceError: The last failure, when no further try is allowed.
            SyncStopped: The sync is ending.
        """
        retried = backoff.on_exception(
            lambda: self._pauses(stopped),
            TransientError,
            giveup=lambda error: not answers and error.status is not None,
            jitter=None,
            logger=None,
        )
        return retried(call)()

    def _pauses(self, stopped: threading.Event) -> Generator[float, TransientError, None]:
        """Pause after each failure; yield 0, for backoff to go on at once."""
        began = time.monotonic()
        error = yield 0  # backoff starts the generator before the first try
        for attempt in itertools.count(1):
            seconds = time.monotonic() - began
            pause = self.pause(error, attempt, seconds, backoff.full_jitter(1))
            logger.warning(NEXT_TRY, error, attempt + 1, self.attempts, pause)
            if stopped.wait(pause):
                raise SyncStopped
            error = yield 0

    def pause(self, error: TransientError, attempt: int, seconds: float, jitter: float) -> float:
        """Return the pause before the next try.

        It is never shorter than ``Retry-After``. If that exceeds ``timeout``, no further try is
        made.

        Args:
            error: The failure.
            attempt: How many tries there have been.
            seconds: How long ago the first one began.
            jitter: Between 0 and 1.

        Raises:
            ServiceError: The failure, when no further try is allowed.
        """
        ceiling = min(self.wait_initial * 2.0 ** min(attempt - 1, 64), self.wait_max)
        pause = max(ceiling * jitter, error.retry_after or 0)
        if attempt >= self.attempts:
            why = "setting max_retries"
        elif seconds + pause > self.timeout:
            why = f"no try begins after {self.timeout:g} s"
            if pause > ceiling:
                why = f"Retry-After is {pause:.0f} s"
        else:
            return pause
        tries = "1 try" if attempt == 1 else f"{attempt} tries"
        raise ServiceError(f"{error}; given up after {tries} ({why}); {error.advice}")


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

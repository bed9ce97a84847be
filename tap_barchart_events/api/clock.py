"""How far the service's clock is from the machine's, by the ``Date`` of its responses."""

from __future__ import annotations

import threading
from datetime import timezone
from email.utils import parsedate_to_datetime

LATEST = 253_370_764_800
"""The year 9999, in seconds since the epoch: a ``Date`` in it stands for no time. A little later
is beyond what a date-time can hold."""


class ServiceClock:
    """The difference of two clocks, within bounds that each response narrows. Thread-safe.

    A response's ``Date`` is cut to whole seconds, and is taken at some moment between request
    and response. So one response bounds the difference from below and from above. The bounds are
    kept against the monotonic clock, which does not jump when the machine's clock is set.
    """

    def __init__(self) -> None:
        """Start without bounds."""
        self._lock = threading.Lock()
        self._bounds: tuple[float, float] | None = None

    def offset(self, machine: float) -> float | None:
        """Return the seconds that the service's clock is ahead; negative ones if it is behind.

        It is 0 as long as the clocks may agree. Otherwise it is the lower bound: the service's
        clock shows at least that. It is ``None`` if no response had a ``Date``.

        Args:
            machine: The machine's clock, in seconds since the epoch, when the monotonic clock
                was 0.
        """
        with self._lock:
            if self._bounds is None:
                return None
            low, high = (bound - machine for bound in self._bounds)
            return 0.0 if low <= 0 <= high else low

    def observe(self, date: str | None, sent: float, received: float) -> None:
        """Narrow the bounds by a response.

        Args:
            date: Its ``Date`` header; one that is no date is ignored.
            sent: When the request was sent, in seconds of the monotonic clock.
            received: When the response's head was received.
        """
        try:
            at = parsedate_to_datetime(date or "")
            said = (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
        except (TypeError, ValueError, OverflowError, OSError):
            return
        if said >= LATEST:
            return
        low, high = said - received, said + 1 - sent
        with self._lock:
            if self._bounds and max(low, self._bounds[0]) <= min(high, self._bounds[1]):
                low, high = max(low, self._bounds[0]), min(high, self._bounds[1])
            # Otherwise a clock was set in between, and the earlier bounds no longer hold.
            self._bounds = (low, high)

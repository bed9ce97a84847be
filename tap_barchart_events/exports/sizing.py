"""How many events a window aims at, and where it ends.

Pure: no clock, no thread, no file.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_barchart_events.exports.capacity import best_share

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_barchart_events.exports.knowledge import Knowledge

WORTH_A_TRY = 1.3
"""Smallest ratio of the fewest events seen to be too many to the most seen to fit, at which an
attempt between them is made. Below it, errors of the forecast already lead to such windows."""

UNKNOWN_TOP = 4.0
"""The same ratio, taken while nothing is known to be too many."""

BY_TIME = 0.85
"""Share of the capacity derived from job times that an attempt aims at: job times vary."""

RARELY = 100
"""A larger window is tried again after this many windows, times one plus the cost of a failure. So
an attempt that fails costs 1 % of the job time."""

EQUAL_PARTS = 4
"""If no more windows than this are left before a limit, they become equally large."""


@dataclass(slots=True)
class Sizing:
    """Chooses sizes by what is known at each call."""

    known: Knowledge
    largest: int
    """Largest size of a window, in milliseconds."""
    aim: float = 0.0
    """Events that the latest window aimed at; 0 before the first."""
    _since_attempt: int = 0

    @property
    def informed(self) -> bool:
        """Whether events of an export are known, and some fitted."""
        return self.known.forecast.latest is not None and self.known.capacity.fits > 0

    def safe(self, deviation: float) -> float:
        """Return the events to aim at that cost least per event, within what is known to fit.

        Args:
            deviation: Standard deviation of the logarithm of the forecast.
        """
        fits, times = self.known.capacity.fits, self.known.job_times
        # Rounded: best_share keeps its results.
        return fits * best_share(
            round(min(deviation, 2.0), 2),
            round(times.fixed_share(fits), 1),
            round(times.failure_cost(fits), 1),
        )

    def growth_pays(self, factor: int, events_left: float) -> bool:
        """Return whether to multiply the events of a window while nothing was too large.

        The chance that x times as many events fit is taken as 1/x.
        """
        fits = self.known.capacity.fits
        return not self.informed or self._saved(factor * fits, 1 / factor, events_left) > 0

    def attempt(self, events_left: float) -> float | None:
        """Return the events to aim at beyond what is known to fit, or None.

        None means that an attempt would cost more than it saves.
        """
        aim, chance = self._candidate(events_left)
        self._since_attempt += 1
        if not aim or self._saved(aim, chance, events_left) <= 0:
            return None
        self._since_attempt = 0
        return aim

    def _candidate(self, events_left: float) -> tuple[float, float]:
        """Return an aim and its chance to fit; 0 if there is none."""
        fits, too_many = self.known.capacity.fits, self.known.capacity.too_many
        by_time = self.known.job_times.capacity(fits)
        if by_time is not None:
            aim = BY_TIME * by_time
            within = 1.1 * fits < aim < (too_many or math.inf)
            return (aim, 0.95) if within else (0.0, 0.0)
        top = too_many or UNKNOWN_TOP * fits
        if top > WORTH_A_TRY * fits:
            # The limit may be anywhere between them, each ratio as likely as another.
            steps = (0.2, 0.35, 0.5, 0.65)
            candidates = [(fits * (top / fits) ** step, 1 - step) for step in steps]
            return max(candidates, key=lambda one: self._saved(one[0], one[1], events_left))
        if self._since_attempt > RARELY * (1 + self.known.job_times.failure_cost(fits)):
            return 1.2 * top, 0.3
        return 0.0, 0.0

    def _saved(self, aim: float, chance: float, events_left: float) -> float:
        """Return how many job times an attempt saves, on average."""
        fits, times = self.known.capacity.fits, self.known.job_times
        fixed = times.fixed_share(fits)
        gain = events_left / fits * (1 - fits / aim) * fixed
        return chance * gain - (1 - chance) * (times.failure_cost(fits) + fixed)

    def cut(
        self, start: int, limit: int, aim_at: Callable[[float], float], correction: float = 1.0
    ) -> int:
        """Return where a window ends that reaches its aim, at ``limit`` at most.

        Near the limit, what is left is cut into equal parts, rather than into full windows and
        a small one.

        Args:
            start: First instant of the window.
            limit: Where it ends at the latest.
            aim_at: Deviation of the forecast → events to aim at.
            correction: Factor to the forecast.
        """
        edges = [(start, 0.0)]
        aim = 0.0
        for edge, expected, deviation in self.known.forecast.scan(start, limit):
            events = expected * correction
            edges.append((edge, events))
            if not aim and events >= aim_at(deviation):
                aim = aim_at(deviation)
            if aim and events > EQUAL_PARTS * aim:
                break
            if not aim and edge - start >= self.largest:
                return edge
        else:
            if not aim:
                return limit
            # A last part that is 2 % of a window is no window of its own.
            aim = edges[-1][1] / math.ceil(edges[-1][1] / aim - 0.02)
        self.aim = aim
        after = min(bisect_left([events for _, events in edges], aim), len(edges) - 1)
        (before, less), (edge, more) = edges[after - 1 : after + 1]
        return before + math.ceil((edge - before) * min(1.0, (aim - less) / (more - less)))

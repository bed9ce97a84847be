"""When a new job replaces one that failed or was forgotten, and when none does. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tap_barchart_events.api.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class JobRetryPolicy:
    """New jobs in the place of jobs that failed or that the service has forgotten.

    Pauses grow by a factor, with jitter between half and all of each. With the defaults the
    three pauses after failures add up to between 3.6 and 7.2 minutes, so that an outage of
    several minutes does not end a sync. A job that was forgotten does not show that its
    window is at fault. So the first pause after it is shorter, and only the total time bounds the
    number of new jobs. No call can cancel a job that the service does not know yet: a young one
    is asked for again.
    """

    starts: RetryPolicy = field(default_factory=RetryPolicy)
    """How a start is retried that the service, or the network, did not answer as documented."""

    rejections: int = 3
    """Tries of a start that the service answers with a code of its own, at most."""

    attempts: int = 4
    """Jobs of one window that may fail; after the last one the sync fails."""

    wait_initial: float = 10
    """Longest first pause after a job that failed, in seconds."""

    wait_factor: float = 6
    """Factor by which the pauses after failures grow."""

    mismatch_wait: float = 3
    """Longest pause after a job for another export, in seconds: waiting does not help there."""

    forgotten_grace: float = 60
    """Seconds after its start in which a job is asked for again if the service has none."""

    forgotten_timeout: float = 3600
    """Seconds after the start of a window's first forgotten job in which new jobs replace it."""

    forgotten_wait_initial: float = 1
    """Longest first pause after a job that was forgotten, in seconds; the next ones double."""

    wait_max: float = 600
    """Longest pause of all, in seconds."""

    job_seconds_max: float = 15 * 60
    """Seconds after its start in which a job ends, by the vendor's documentation. Until then a job
    that is no longer polled counts as in flight, because no call can cancel it."""

    def wait_after_failure(self, failures: int, jitter: float) -> float | None:
        """Return the pause before a new job, in seconds; None if there is to be none.

        Args:
            failures: How many jobs of the window have failed so far, at least one.
            jitter: Between 0 and 1.
        """
        if failures >= self.attempts:
            return None
        return self._wait(self.wait_initial * self.wait_factor ** (failures - 1), jitter)

    def wait_after_rejection(self, rejections: int, jitter: float) -> float | None:
        """Return the pause before a start that was rejected is sent again; None if it is not."""
        if rejections >= min(self.rejections, self.starts.attempts):
            return None
        return self.wait_after_failure(rejections, jitter)

    def wait_after_forgotten(self, times: int, seconds: float, jitter: float) -> float | None:
        """Return the pause before a new job, in seconds; None if there is to be none.

        Args:
            times: How many jobs of the window have been forgotten so far, at least one.
            seconds: How long ago the first one of these was started.
            jitter: Between 0 and 1.
        """
        if seconds >= self.forgotten_timeout:
            return None
        return self._wait(self.forgotten_wait_initial * 2 ** min(times - 1, 30), jitter)

    def _wait(self, longest: float, jitter: float) -> float:
        return min(longest, self.wait_max) * (1 + jitter) / 2

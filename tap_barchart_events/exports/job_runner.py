"""Makes the calls that the scheduler returns. Decides nothing; several threads may use it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tap_barchart_events.exports.tasks import Downloaded, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tap_barchart_events.api.client import ReportsClient
    from tap_barchart_events.exports.saved_jobs import Request, SavedJob
    from tap_barchart_events.exports.tasks import Outcome, RunningJob, WindowTask

    CountEvents = Callable[[str, Path], Mapping[int, int]]
    """Product, file → its events by hours since the epoch."""


class JobRunner:
    """Makes calls of the service. Safe to use from several threads."""

    def __init__(
        self,
        client: ReportsClient,
        request: Request,
        *,
        count_events: CountEvents | None = None,
    ) -> None:
        """Make no call yet.

        Args:
            client: The service.
            request: What all exports have in common.
            count_events: Counts the events of a downloaded file.
        """
        self._client = client
        self._request = request
        self._count_events = count_events

    def take_over(self, product: str, job: SavedJob) -> None:
        """Expect responses about a job that an earlier run has started."""
        self._client.expect(
            job.source,
            customer=self._request.customer,
            product=product,
            start=job.window.start,
            end=job.window.end,
            types=self._request.types,
        )

    def call(self, task: WindowTask) -> Outcome:
        """Make the call that a window's state names; return its outcome, errors included."""
        try:
            match task.state, task.job:
                case TaskState.STARTING, _:
                    return self._start(task)
                case TaskState.POLLING, job if job:
                    return self._client.poll(job.source)
                case _, job if job:
                    return self._download(task, job)
        except Exception as error:  # noqa: BLE001 - the scheduler decides about it
            return error
        raise RuntimeError(task.state)

    def _start(self, task: WindowTask) -> Outcome:
        return self._client.start(
            customer=self._request.customer,
            product=task.queue.product,
            start=task.window.start,
            end=task.window.end,
            types=self._request.types,
            delimiter=self._request.delimiter,
        )

    def _download(self, task: WindowTask, job: RunningJob) -> Outcome:
        began = time.monotonic()
        size = self._client.download(job.source, task.path)
        seconds = time.monotonic() - began
        counts = self._count_events(task.queue.product, task.path) if self._count_events else None
        return Downloaded(size, seconds, counts)

"""What one sync holds open: client, exports, progress. Put together from the settings."""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tap_barchart_events.api.client import ReportsClient
from tap_barchart_events.exports.job_runner import Limits, Request
from tap_barchart_events.exports.scheduler import Exports
from tap_barchart_events.output.writer import signals_held
from tap_barchart_events.progress import Progress

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping

    from tap_barchart_events.api.retry import RetryPolicy
    from tap_barchart_events.config.settings import Settings
    from tap_barchart_events.exports.planner import WindowPlanner


class Sync:
    """What one sync holds open: a private folder, the client, the exports, the progress."""

    def __init__(
        self,
        settings: Settings,
        plans: Mapping[str, WindowPlanner],
        *,
        folder: Path,
        stream: str,
        logger: logging.Logger,
        retry: RetryPolicy,
    ) -> None:
        """Open nothing on the network yet.

        Args:
            settings: The settings.
            plans: The windows of each product, in the order in which they will be read.
            folder: An existing private folder.
            stream: Name of the stream, for metrics.
            logger: Where progress goes.
            retry: How calls are tried again, but for how often: that is a setting.
        """
        self.folder = folder
        self.stopped = threading.Event()
        self.progress = Progress(
            logger,
            customer=settings.customer,
            stream=stream,
            total=sum(plan.span.size for plan in plans.values()),
            windows_left=lambda: self.exports.windows_left,
        )
        self.client = ReportsClient(
            settings.api_url,
            settings.username,
            settings.password,
            stopped=self.stopped,
            timeout=settings.request_timeout_seconds,
            retry=replace(retry, max_retries=settings.max_retries),
            connections=2 * settings.max_concurrent_jobs,
            on_request=self.progress.request,
        )
        self.exports = Exports(
            self.client,
            plans,
            request=Request(settings.customer, settings.event_types, settings.delimiter),
            limits=Limits(
                settings.max_concurrent_jobs,
                settings.job_timeout_minutes * 60,
                settings.poll_interval_seconds,
            ),
            directory=folder,
            stopped=self.stopped,
        )

    def close(self) -> None:
        """End all work at once; leave the folder to its owner."""
        self.exports.close()
        self.client.close()
        self.progress.close()


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a temporary folder that is the owner's alone, and remove it with all in it."""
    with signals_held():  # to try the place, Python writes a file there
        place = tempfile.gettempdir()
    # Named beforehand: a signal may come when it is made and not yet known to be.
    folder = Path(place, f"tap-barchart-events-{uuid.uuid4().hex}")
    usual = tempfile.tempdir
    try:
        folder.mkdir(mode=0o700)
        # So that libraries, too, leave nothing elsewhere: fsspec, with half a batch file.
        tempfile.tempdir = str(folder)
        yield folder
    finally:
        # A signal interrupts once and never again, so one of the two comes to its end.
        try:
            tempfile.tempdir = usual
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

"""The first job of a sync, if it is started before all others to learn the service's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import CredentialsError, JobMismatchError, ServiceError
from tap_barchart_events.exports.saved_jobs import SavedJob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_barchart_events.api.client import ReportsClient
    from tap_barchart_events.exports.planner import WindowPlanner
    from tap_barchart_events.exports.saved_jobs import Request


def first_job(
    client: ReportsClient, request: Request, plans: Mapping[str, WindowPlanner]
) -> tuple[str, SavedJob] | None:
    """Start a job for the first window, with one try; return its product and the job.

    The ``Date`` of the answer, also of an error, is the service's time.

    Raises:
        CredentialsError: The credentials are wrong.
        ServiceError: ``Retry-After`` is longer than a call is retried.
    """
    windows = ((product, plan.next()) for product, plan in plans.items())
    product, window = next(((p, w) for p, w in windows if w), ("", None))
    if window is None:
        return None
    try:
        job = client.start(**request.of(product, window), delimiter=request.delimiter)
    except CredentialsError:
        raise
    except (ServiceError, JobMismatchError) as error:
        client.wait_as_asked(error)
        return None  # the sync starts it again, and decides what an error means
    fingerprint = request.fingerprint(product, job.source, window)
    return product, SavedJob(job.source, window, round(client.now), fingerprint)

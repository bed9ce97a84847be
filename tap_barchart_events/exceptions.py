"""Every error that a user can meet. Imports nothing of the project.

    BarchartEventsError
    ├── SettingError            a setting is missing or wrong: nothing was requested
    ├── ServiceError            the service did not answer as documented
    │   ├── CredentialsError    401 or 403: the credentials are wrong; never retried
    │   ├── JobRefusedError     no more jobs at once: continue with those in flight
    │   ├── JobForgottenError   the service knows no such job: start a new one
    │   ├── JobNotReadyError    the link was asked for before the file was ready
    │   └── LinkExpiredError    the download link has expired: get a new one
    ├── ExportError             an export is not available
    │   ├── TooLargeError       too many events for one export: split the window
    │   └── JobFailedError      the job failed: start a new one, a few times
    │       └── JobMismatchError    the job is another export's: start a new one
    ├── FileError               an export file is not as it must be
    │   ├── LayoutError         its columns are not certain
    │   └── WrongRangeError     its events occurred in another time range than was asked for
    └── OutputError             stdout cannot be written to

One class for each decision that a caller takes, not one for each place of origin. The
message is what the user reads last: what failed, why, and what to do. It never holds a
password, an ``Authorization`` header or a link.
"""

from __future__ import annotations


class BarchartEventsError(Exception):
    """Base of all errors of this tap."""


class SettingError(BarchartEventsError):
    """A setting is missing or has a value that cannot be used."""


class ServiceError(BarchartEventsError):
    """The service failed, or its answer is not documented."""


class CredentialsError(ServiceError):
    """The service refuses the credentials (401 or 403)."""


class JobRefusedError(ServiceError):
    """The service starts no more jobs (429 or 503) while jobs of this sync are in flight."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """Keep how many seconds the service asks to wait, if it does."""
        super().__init__(message)
        self.retry_after = retry_after


class JobForgottenError(ServiceError):
    """The service knows no job by this name (``EVENT_JOB_GET_FAILED_NO_JOB``)."""


class JobNotReadyError(ServiceError):
    """The link was asked for too early (``EVENT_JOB_GET_FAILED_RUNNING``)."""


class LinkExpiredError(ServiceError):
    """The link has expired (after 15 minutes)."""


class ExportError(BarchartEventsError):
    """An export is not available."""


class TooLargeError(ExportError):
    """An export holds too many events for one job: its window must be split."""


class JobFailedError(ExportError):
    """A job failed at the service, without a reason."""


class JobMismatchError(JobFailedError):
    """The service answers with a job for another export than the one that was asked for.

    ``ReportsClient.start`` and ``ReportsClient.poll`` raise it. The job must not be used: start
    a new one, a few times.
    """


class FileError(BarchartEventsError):
    """An export file is not what it must be; nothing of it was emitted."""


class LayoutError(FileError):
    """The columns of an export file are not certain."""


class WrongRangeError(FileError):
    """An export file has rows, and none occurred in the window that was asked for."""


class OutputError(BarchartEventsError):
    """Messages cannot be written to stdout."""


class SyncStopped(Exception):  # noqa: N818 - no error: the sync is ending
    """Ends a worker thread when the sync ends early. No user meets it."""

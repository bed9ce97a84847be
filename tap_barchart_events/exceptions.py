"""The errors of the tap. Imports nothing of the project.

    BarchartEventsError
    ├── SettingError            a setting, the catalog or STATE cannot be used
    ├── ServiceError            the service did not answer as documented
    │   ├── CredentialsError    401 or 403: never retried
    │   ├── StartRejectedError  an error code from the service: start again, a few times
    │   ├── JobForgottenError   the service has no such job: start a new one
    │   ├── JobNotReadyError    the link was requested before the file was ready
    │   └── TransientError      a failure that may pass: retried
    ├── TooLargeError           too many events for the smallest window
    ├── JobFailedError          the job failed, or is for another export: start a new one
    ├── FileError               an export file is damaged, or not as documented
    │   ├── LayoutError         its columns are not certain
    │   └── ResourceError       too little memory or disk to read it; it may be fine
    ├── ProductsFailedError     some products failed, the others reached their end
    └── OutputError             stdout cannot be written to

There is one class for each decision of a caller, not for each place of origin. The message
is the last line that the user reads: what failed, why, and what to do. It never holds a
password, an ``Authorization`` header or a link.
"""

REPORT = "run --test at log level DEBUG and report its output"
"""What to do about an error that no setting helps with."""


class BarchartEventsError(Exception):
    """Base of all errors of this tap."""

    names_window = False
    """Whether the message says which product and window it is about."""

    status: int | None = None
    """The HTTP status of the response that caused it, if any."""


class SettingError(BarchartEventsError):
    """A setting, the catalog or STATE is missing something or has a value that cannot be used."""


class ServiceError(BarchartEventsError):
    """The service failed, or its response is not documented."""

    is_outage = False
    """Whether a call has failed at every try that is allowed."""


class CredentialsError(ServiceError):
    """The service refuses the credentials (401 or 403)."""


class StartRejectedError(ServiceError):
    """The service answers a start with its own error code, not a gateway's."""

    advice = "check customer, products, event_types and delimiter"
    """What to do when the tries are used up."""

    is_final = False
    """Whether no retry helps: the service cannot read the request."""


class JobForgottenError(ServiceError):
    """The service has no job of this name (``EVENT_JOB_GET_FAILED_NO_JOB``)."""


class JobNotReadyError(ServiceError):
    """The link was requested too early (``EVENT_JOB_GET_FAILED_RUNNING``)."""


class TransientError(ServiceError):
    """A failure that may be temporary: the call is retried."""

    def __init__(self, message: str, retry_after: float | None = None, advice: str = "") -> None:
        """Keep the seconds of ``Retry-After``, and what to do when the tries are used up."""
        super().__init__(message)
        self.retry_after = retry_after
        self.advice = advice or "run again later: the next run continues from the bookmark"


class TooLargeError(BarchartEventsError):
    """The smallest window holds too many events for one job."""


class JobFailedError(BarchartEventsError):
    """A job failed at the service, or the service answered with a job for another export."""


class FileError(BarchartEventsError):
    """An export file cannot be used; no event of it was emitted."""


class LayoutError(FileError):
    """The columns of an export file are not certain."""


class ResourceError(FileError):
    """There is too little memory or disk for an export file, which may be fine."""


class ProductsFailedError(BarchartEventsError):
    """Some products failed; all others have reached their end."""


class OutputError(BarchartEventsError):
    """Messages cannot be written to stdout."""


class SyncStopped(Exception):  # noqa: N818 - not an error: the sync is ending
    """Ends a worker thread when the sync ends early. It is never shown to a user."""

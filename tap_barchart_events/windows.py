"""Windows and instants.

Pure: no clock, no network. All instants are whole milliseconds since the epoch, UTC. A
window is half-open, ``[start, end)``: an event on the edge between two windows belongs to
the later one, once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

HOUR = 3_600_000
"""An hour, in milliseconds."""

MINUTE = 60_000
"""A minute, in milliseconds."""

SECOND = 1000
"""A second, in milliseconds."""

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

EARLIEST = -62_135_596_800_000
"""The year 1, in milliseconds since the epoch: no earlier instant can be written."""


def to_milliseconds(instant: datetime) -> int:
    """Return an aware date-time as milliseconds since the epoch, rounded down."""
    return (instant - EPOCH) // timedelta(milliseconds=1)


def to_iso(milliseconds: int) -> str:
    """Return an instant as ISO 8601 in UTC with milliseconds and an explicit offset."""
    return (EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")


def from_iso(text: str) -> int:
    """Return an ISO 8601 date or date-time as milliseconds; without an offset it is UTC.

    Raises:
        ValueError: It is not ISO 8601, or lies outside the years 1 to 9999 in UTC.
    """
    # Python 3.10 reads neither a "Z" nor fractions without exactly three or six digits.
    head, dot, tail = text.strip().replace("Z", "+00:00").partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    instant = datetime.fromisoformat(
        f"{head}.{digits[:6].ljust(6, '0')}{tail[len(digits) :]}" if dot else head
    )
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=timezone.utc)
    try:
        return to_milliseconds(instant.astimezone(timezone.utc))
    except OverflowError:
        raise ValueError(text) from None


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A range of time that one export covers."""

    start: int
    """First instant, inclusive, in milliseconds."""

    end: int
    """Last instant, exclusive, in milliseconds."""

    @property
    def size(self) -> int:
        """Length in milliseconds."""
        return self.end - self.start

    def __str__(self) -> str:
        """Return ``2019-10-14 05:00 → 09:00``; date and seconds only where needed."""
        start, end = _readable(self.start), _readable(self.end)
        return f"{start} → {end.removeprefix(start[:11])}"


def _readable(milliseconds: int) -> str:
    text = to_iso(milliseconds).removesuffix("+00:00").replace("T", " ")
    return text.removesuffix(".000").removesuffix(":00")


def cut_before(instant: int, size: int, smallest: int) -> int:
    """Return an instant rounded down to one at which the tap may cut a range, in milliseconds.

    It is a whole minute, because log lines are then easy to read, unless a window, or the lag, is
    so small that more than a tenth of it could be cut off. Otherwise it is a whole second, in case
    the service drops milliseconds: it would then leave out the events between a whole second and a
    window's end. Windows below a second are cut at milliseconds.

    Args:
        instant: Milliseconds since the epoch.
        size: Size of the window that ends there, or the lag.
        smallest: Size below which no window is split (``min_window_seconds``).
    """
    unit = MINUTE if size >= 10 * MINUTE else SECOND if smallest >= SECOND else 1
    return instant // unit * unit

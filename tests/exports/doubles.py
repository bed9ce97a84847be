"""Test doubles of a checked file, for tests of exports that do not depend on its content."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_barchart_events.exports.jobs import Export
    from tap_barchart_events.files.export_file import ExportFile

HOUR = 3_600_000


class CountedFile:
    """A file whose rows are counted by hour when it is checked, and not checked at all."""

    def __init__(self, export: Export) -> None:
        """Take the export; nothing is read yet."""
        self._path = export.path
        self.contents: Any = None

    def check(self) -> None:
        """Count the rows."""
        stamps = (line.partition(b"|")[0] for line in self._path.read_bytes().splitlines())
        counts = Counter(int(stamp) // HOUR for stamp in stamps if stamp.isdigit())
        self.contents = SimpleNamespace(events_by_hour=counts)

    def interrupt(self) -> None:
        """Do nothing: a check takes no time."""


def counted_file(export: Export) -> ExportFile:
    """Return such a file as what it stands for."""
    return cast("ExportFile", CountedFile(export))


def checked_file(events_by_hour: Mapping[int, int]) -> ExportFile:
    """Return a checked file with such events."""
    contents = SimpleNamespace(events_by_hour=events_by_hour)
    return cast("ExportFile", SimpleNamespace(contents=contents))

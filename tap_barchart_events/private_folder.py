"""The folder for temporary files of one sync."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_barchart_events.output.signals import Signals


@contextmanager
def private_folder(signals: Signals) -> Iterator[Path]:
    """Make a temporary folder that only its owner can read, and remove it with its content."""
    with signals.deferred():  # Python tests the place by writing a file there
        place = tempfile.gettempdir()
    if not place.isascii() and place.encode(errors="ignore").decode() != place:
        raise FileError(
            f"the folder for temporary files, {place!a}, has a name that is not UTF-8; set "
            "TMPDIR to another one"
        )
    # The name comes first: a signal may arrive just after the folder is made.
    signals.folder = folder = Path(place, f"tap-barchart-events-{uuid.uuid4().hex}")
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        # Only the first signal raises, so at least one of the two calls completes.
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

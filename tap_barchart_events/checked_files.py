"""The exports of a product as checked files, window by window, and their warnings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import FileError, LayoutError, ResourceError
from tap_barchart_events.files.export_file import ExportFile, FileFormat
from tap_barchart_events.files.validation import Dropped
from tap_barchart_events.products import columns_of
from tap_barchart_events.progress import counted
from tap_barchart_events.windows import Window

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Sequence

    from tap_barchart_events.config.settings import Settings
    from tap_barchart_events.exports.tasks import Export
    from tap_barchart_events.files.export_file import FileContents
    from tap_barchart_events.seen_columns import SeenColumns
    from tap_barchart_events.sync import Sync


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """An export file whose rows are all checked."""

    export: Export
    file: ExportFile
    contents: FileContents
    seen: SeenColumns
    """What is known of the columns after this file."""
    began: float
    """When the file was taken to be written, in seconds of the monotonic clock."""


class CheckedFiles:
    """The checked files of one product."""

    def __init__(
        self,
        sync: Sync,
        settings: Settings,
        *,
        properties: Sequence[str],
        schema_columns: Sequence[str],
        logger: logging.Logger,
    ) -> None:
        """Read nothing yet.

        Args:
            sync: The sync under way.
            settings: The settings.
            properties: The selected properties, in the order of the schema.
            schema_columns: The columns that have a property.
            logger: Where warnings go.
        """
        self._sync = sync
        self._settings = settings
        self._properties = properties
        self._schema_columns = schema_columns
        self._logger = logger
        is_selected = "extra" in properties
        self._where = "go to extra" if is_selected else "are in no record: extra is deselected"
        self._lacking = {*columns_of(settings.products)} - {*schema_columns}
        """Columns that the warning about the catalog has named."""
        self._named: set[str] = set()
        """Columns that a warning about files has named."""
        self._impossible = Dropped()

    def of(self, product: str, seen: SeenColumns) -> Iterator[CheckedFile]:
        """Yield the files in time order; the request for the next one closes a file.

        Args:
            product: The product.
            seen: What is known of the columns of earlier files.

        Raises:
            BarchartEventsError: The next export is not available, or cannot be read.
        """
        settings = self._settings
        try:
            for export in self._sync.exports.of(product):
                began = time.monotonic()
                with ExportFile(
                    export.path,
                    customer=settings.customer,
                    product=export.product,
                    window=export.window,
                    possible=Window(settings.start_date, round(time.time() * 1000)),
                    properties=self._properties,
                    schema_columns=self._schema_columns,
                    file_format=FileFormat(
                        settings.delimiter,
                        settings.quote_character,
                        settings.columns,
                        settings.layout_check,
                    ),
                    directory=self._sync.folder,
                    has_null_product=export.has_null_product,
                ) as file:
                    contents = self._check(export, file)
                    seen = self._warn_of_columns(export, contents, seen)
                    self._warn(export, contents)
                    yield CheckedFile(export, file, contents, seen, began)
        finally:
            self._warn_of_impossible(product)

    def _check(self, export: Export, file: ExportFile) -> FileContents:
        try:
            return file.check()
        except (LayoutError, ResourceError):
            raise  # the file may be right: the settings, or this machine, are not
        except FileError:
            self._sync.exports.reject(export)
            raise

    def _warn_of_columns(
        self, export: Export, contents: FileContents, seen: SeenColumns
    ) -> SeenColumns:
        """Warn of what has changed; return what is known after this file."""
        layout = contents.layout
        if layout is None:
            return seen
        extra = [name for name in contents.extra_columns if name not in self._lacking]
        missing = [] if layout.by_position else seen.missing(export.product, layout.names)
        if missing:
            self._logger.warning(
                "%s %s: the header lacks columns that earlier files had, so they are null: %s; "
                "ask Barchart's support whether they have other names now",
                export.product,
                export.window,
                ", ".join(missing),
            )
        new = [name for name in seen.new(extra) if name not in self._named]
        if new:
            self._named |= {*new}
            self._logger.warning(
                "%s: columns that the schema does not name %s: %s",
                export.product,
                self._where,
                ", ".join(sorted(new)),
            )
        return seen.after(export.product, layout.names, extra)

    def _warn(self, export: Export, contents: FileContents) -> None:
        for warning in contents.warnings:
            self._logger.warning("%s %s: %s", export.product, export.window, warning)
        self._impossible += contents.impossible

    def _warn_of_impossible(self, product: str) -> None:
        """Log how many rows of a product no window can hold; they are known at its end."""
        if self._impossible.rows:
            self._logger.warning(
                "%s: %s of its exports were dropped because no sync extracts them: they are before "
                "start_date or later than now, between %s and %s; ask Barchart's support",
                product,
                counted(self._impossible.rows, "row"),
                *self._impossible.between,
            )

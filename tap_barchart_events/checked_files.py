"""The exports of a product as checked files, window by window, and their warnings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import FileError, LayoutError, ResourceError
from tap_barchart_events.files.export_file import ExportFile, FileFormat
from tap_barchart_events.products import columns_of

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Sequence

    from tap_barchart_events.config.settings import Settings
    from tap_barchart_events.exports.tasks import Export
    from tap_barchart_events.files.export_file import FileContents
    from tap_barchart_events.sync import Sync


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """An export file whose rows are all checked."""

    export: Export
    file: ExportFile
    contents: FileContents
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
        self._named = {*columns_of(settings.products)} - {*schema_columns}
        """Columns that a warning has named; that about the catalog has named those it lacks."""
        self._has_warned_of_outside = False

    def of(self, product: str) -> Iterator[CheckedFile]:
        """Yield the files in time order; the request for the next one closes a file.

        Raises:
            BarchartEventsError: The next export is not available, or cannot be read.
        """
        settings = self._settings
        for export in self._sync.exports.of(product):
            began = time.monotonic()
            with ExportFile(
                export.path,
                customer=settings.customer,
                product=export.product,
                window=export.window,
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
                self._warn(export, contents)
                yield CheckedFile(export, file, contents, began)

    def _check(self, export: Export, file: ExportFile) -> FileContents:
        try:
            return file.check()
        except (LayoutError, ResourceError):
            raise  # the file may be right: the settings, or this machine, are not
        except FileError:
            self._sync.exports.reject(export)
            raise

    def _warn(self, export: Export, contents: FileContents) -> None:
        new = set(contents.extra_columns) - self._named
        if new:
            self._named |= new
            self._logger.warning(
                "%s: columns that the schema does not name go to extra: %s",
                export.product,
                ", ".join(sorted(new)),
            )
        for warning in contents.warnings:
            self._logger.warning("%s %s: %s", export.product, export.window, warning)
        if contents.outside and not self._has_warned_of_outside:
            self._has_warned_of_outside = True
            self._logger.warning(
                "%s %s: %s rows of the export are outside the requested window and were "
                "dropped; this is logged once for each product",
                export.product,
                export.window,
                f"{contents.outside:,}",
            )

"""The warnings about the files of a product: what has changed, and what is dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_barchart_events.files.validation import Dropped
from tap_barchart_events.products import columns_of
from tap_barchart_events.progress import counted

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from tap_barchart_events.exports.export import Export
    from tap_barchart_events.files.export_file import FileContents
    from tap_barchart_events.seen_columns import SeenColumns


class FileWarnings:
    """Logs warnings about the files of one product."""

    def __init__(
        self,
        product: str,
        seen: SeenColumns,
        *,
        products: Sequence[str],
        properties: Sequence[str],
        schema_columns: Sequence[str],
        logger: logging.Logger,
    ) -> None:
        """Start with what is known of the columns of earlier files.

        Args:
            product: The product.
            seen: What is known of the columns of earlier files.
            products: All products of the sync.
            properties: The selected properties.
            schema_columns: The columns that have a property.
            logger: Where warnings go.
        """
        self.seen = seen
        """What is known of the columns by now."""
        self._product = product
        self._logger = logger
        is_selected = "extra" in properties
        self._where = "go to extra" if is_selected else "are in no record: extra is deselected"
        self._lacking = {*columns_of(products)} - {*schema_columns}
        """Columns that the warning about the catalog has named."""
        self._named: set[str] = set()
        """Columns that a warning about files has named."""
        self._impossible = Dropped()

    def of(self, export: Export, contents: FileContents) -> None:
        """Log the warnings about a file."""
        self._of_columns(export, contents)
        for warning in contents.warnings:
            self._logger.warning("%s %s: %s", self._product, export.window, warning)
        self._impossible += contents.impossible

    def _of_columns(self, export: Export, contents: FileContents) -> None:
        layout, seen = contents.layout, self.seen
        if layout is None:
            return
        extra = [name for name in contents.extra_columns if name not in self._lacking]
        missing = [] if layout.by_position else seen.missing(self._product, layout.names)
        if missing:
            self._logger.warning(
                "%s %s: the header lacks columns that earlier files had, so they are null: %s; "
                "ask Barchart's support whether they have other names now",
                self._product,
                export.window,
                ", ".join(missing),
            )
        new = [name for name in seen.new(extra) if name not in self._named]
        if new:
            self._named |= {*new}
            self._logger.warning(
                "%s: columns that the schema does not name %s: %s",
                self._product,
                self._where,
                ", ".join(sorted(new)),
            )
        self.seen = seen.after(self._product, layout.names, extra)

    def close(self) -> None:
        """Log how many rows of the product no window can hold; they are known at its end."""
        if self._impossible.rows:
            self._logger.warning(
                "%s: %s of its exports were dropped because no sync extracts them: they are before "
                "start_date or later than now, between %s and %s; ask Barchart's support",
                self._product,
                counted(self._impossible.rows, "row"),
                *self._impossible.between,
            )

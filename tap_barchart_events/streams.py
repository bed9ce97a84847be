"""The stream of events: windows → exports → events, and the bookmark.

``_files`` keeps the bookmark rule: the bookmark of a product moves to the end of a window when
all its events have been written, not one record earlier, and never back.
"""

import logging
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from functools import cached_property
from itertools import chain, islice
from typing import Any, cast

from singer_sdk import Stream, Tap
from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.singerlib import StateMessage
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE

from tap_barchart_events.exceptions import ProductsFailedError, SettingError, TooLargeError
from tap_barchart_events.exports.jobs import Export, JobPolicy
from tap_barchart_events.files.engine import CHECK_MEMORY, Engine
from tap_barchart_events.files.export_file import ExportFile
from tap_barchart_events.files.rows import FileOptions
from tap_barchart_events.output.batch_files import check_storage, store_all
from tap_barchart_events.output.signals import Interrupted
from tap_barchart_events.output.writer import MessageWriter
from tap_barchart_events.products import columns_of
from tap_barchart_events.schema import KEY, REPLICATION_KEY, STREAM, columns_with_property, schema
from tap_barchart_events.settings import Settings, unknown_codes
from tap_barchart_events.state import ProductState
from tap_barchart_events.sync import Coverage, Sync, export_newest, open_sync

Context = Mapping[str, Any]


class EventsStream(Stream):
    """Usage events of one customer, a partition for each product."""

    name = STREAM
    primary_keys = (KEY,)
    replication_key = REPLICATION_KEY
    # The query of files/queries.py types every value; a second conversion would change nothing.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    policy = JobPolicy()
    """When jobs are replaced, and how calls are retried; settings replace part of it."""

    def __init__(self, tap: Tap) -> None:
        """Make the schema for the products of a tap."""
        self._writer = cast("MessageWriter", tap.message_writer)
        self._states: dict[str, ProductState] = {}
        self._sync_now: Sync | None = None
        """Set while a sync is under way, because the SDK does not pass it to get_records."""
        super().__init__(tap, schema=schema(tap.config["products"]))
        self.logger.addFilter(is_no_sdk_notice)

    @cached_property
    def settings(self) -> Settings:
        """The settings; discovery does not use them."""
        return Settings.from_config(self.config)

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """One for each product, in the order of the setting."""
        customer = self.settings.customer
        return [{"customer": customer, "product": p} for p in self.settings.products]

    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """No upper bound is needed: a window never ends after now minus the lag."""

    # What is to be exported ---------------------------------------------------------------

    def _read_states(self) -> dict[str, ProductState]:
        """Read what STATE holds for each product; warn about what the sync will not extract."""
        settings = self.settings
        for warning in unknown_codes(settings.products, settings.event_types, settings.columns):
            self.logger.warning(warning)
        states = {}
        for context in self.partitions:
            product = context["product"]
            kept = self.get_context_state(context) if self._is_incremental else {}
            states[product] = ProductState.read(kept)
            for warning in states[product].warnings(settings):
                self.logger.warning("%s/%s: %s", settings.customer, product, warning)
        return states

    @property
    def _is_incremental(self) -> bool:
        return self.replication_method != REPLICATION_FULL_TABLE

    # Windows, their files, and the bookmark -----------------------------------------------

    @contextmanager
    def _syncing(self) -> Iterator[None]:
        """Open what a sync needs; close and remove it however the sync ends."""
        signals = self._writer.signals
        with signals.private_folder() as folder, closing(Engine(folder, CHECK_MEMORY)) as checker:
            try:
                with open_sync(self._coverage(checker)) as self._sync_now:
                    self._sync_now.begin()
                    yield
                    self._raise_failures(self._sync_now.progress.failed)
            except (Exception, Interrupted, KeyboardInterrupt) as error:
                if signals.interrupted:
                    self.logger.warning("interrupted; the next run continues from the bookmarks")
                elif isinstance(error, Interrupted):
                    self.logger.warning("stdout was closed; see the log of the target")
                if self._sync_now:
                    with suppress(Interrupted):  # a signal, or stdout is closed
                        self._write_state()  # so that the next run can use the jobs of this one
                if signals.interrupted:
                    # Any later error was caused by it: a library may have replaced it.
                    raise signals.interrupted from None
                raise
            finally:
                self._sync_now = None

    def _coverage(self, checker: Engine) -> Coverage:
        """Return what a sync, or a test, works with; warn about the catalog."""
        settings, named = self.settings, self.effective_schema["properties"]
        self._states = self._read_states()
        columns = columns_with_property(
            settings.products, named, self.metadata, self.config.get("stream_maps")
        )
        if lacking := [name for name in columns_of(settings.products) if name not in columns]:
            self.logger.warning(
                "the catalog was made for other products, or by an older version: it lacks the "
                "columns %s of the products configured; their values go to extra, if that is "
                "selected; make a new one with --discover",
                ", ".join(lacking),
            )
        options = FileOptions(
            customer=settings.customer,
            start_date=settings.start_date,
            bookmarks={p: s.bookmark for p, s in self._states.items() if s.bookmark is not None},
            delimiter=settings.delimiter,
            quote_character=settings.quote_character,
            columns=settings.columns,
            layout_check=settings.layout_check,
            properties=[name for name in named if self.mask["properties", name]],
            schema_columns=columns,
        )

        def open_file(export: Export) -> ExportFile:
            return ExportFile(
                path=export.path,
                product=export.product,
                window=export.window,
                options=options,
                checker=checker,
                has_null_product=export.has_null_product,
            )

        return Coverage(settings, self._states, checker.folder, open_file, self.logger, self.policy)

    def _files(self, context: Context) -> Iterator[ExportFile]:
        """Yield the checked files of a product, window by window.

        The consumer requests the next file after it has passed all events of this one to the
        message writer. The window is finished, and the bookmark moves, only then.
        """
        sync, product = cast("Sync", self._sync_now), context["product"]
        for export in sync.exports.of(product):
            if export.error or not export.file:
                sync.progress.failed[product] = cast("Exception", export.error)
                if product != self.settings.products[-1]:
                    self.logger.error("%s; the other products go on", export.error)
                return
            began, file = time.monotonic(), export.file
            contents = file.contents
            state, warnings = self._states[product].after_file(product, contents)
            for warning in (*warnings, *contents.warnings):
                where = f"{self.settings.customer}/{product} {export.window}"
                self.logger.warning("%s: %s", where, warning)
            with closing(file):
                yield file
            self._writer.flush()
            self._states[product] = state.finished(export.window.end, self.settings)
            sync.progress.count(export, contents)
            sync.exports.emitted(export)  # last: a signal in between loses no job
            self._write_state()
            sync.progress.finished(export, contents, time.monotonic() - began)

    def _write_state(self) -> None:
        """Write a STATE message with what is known now."""
        if not self._is_incremental:
            return
        sync = cast("Sync", self._sync_now)
        for context in self.partitions:
            product = context["product"]
            state = sync.with_jobs_and_sizes(product, self._states[product])
            state.write_to(self.get_context_state(context), REPLICATION_KEY)
        # The SDK's writer skips a STATE equal to the last one, even with RECORDs in between.
        self._writer.write_message(StateMessage(value=self.tap_state))

    def test_connection(self) -> None:
        """Check the credentials, and a file of each product; log what they are, write no message.

        Raises:
            ProductsFailedError: A file cannot be read, or a job failed.
        """
        self.selected = True  # whatever a catalog or a stream map says, as in the SDK's own test
        settings, signals = self.settings, self._writer.signals
        failed, read = dict[str, Exception](), 0
        with signals.private_folder() as folder, closing(Engine(folder, CHECK_MEMORY)) as checker:
            for export in export_newest(self._coverage(checker)):
                where, error = f"{settings.customer}/{export.product}", export.error
                if isinstance(error, TooLargeError):
                    self.logger.info("%s: %s is too large for one export", where, export.window)
                elif error or not export.file:
                    failed[export.product] = cast("Exception", error)
                    self.logger.error("%s", error)
                else:
                    self.logger.info("%s: %s: %s", where, export.window, export.file.description)
                    read += export.file.contents.rows > 0
                    with closing(export.file), closing(export.file.records()) as records:
                        for record in islice(records, 1):
                            for stream_map in self.stream_maps:
                                stream_map.transform(record)
        self._raise_failures(failed)
        self.logger.info("OK: events of %d of %d products were read", read, len(settings.products))

    def _raise_failures(self, failed: Mapping[str, Exception]) -> None:
        """Raise an error that names the products that failed, if any did."""
        prefix, products = f"{self.settings.customer}/", self.settings.products
        if failed and len(products) == 1:
            raise failed[products[0]] from None
        reasons = "; ".join(str(error).removeprefix(prefix) for error in failed.values())
        if failed:
            text = f"{len(failed)} of {len(products)} products failed: {reasons}"
            raise ProductsFailedError(text)

    # Output modes: RECORD in bulk, through the SDK, and BATCH ------------------------------

    def get_records(self, context: Context | None) -> Generator[dict[str, Any]]:
        """Yield the events of a product as records."""
        for file in self._files(context or {}):
            yield from file.records()

    def _write_in_bulk(self) -> None:
        """Write finished RECORD messages; Python builds no records."""
        for file in chain.from_iterable(map(self._files, self.partitions)):
            extracted = datetime.now(timezone.utc).isoformat()
            for lines, _ in file.record_lines(self.name, extracted):
                self._writer.write_lines(lines)

    @property
    def _unmapped(self) -> bool:
        match self.stream_maps:
            case [SameRecordTransform(flattening_enabled=False)]:
                return True
        return False

    def get_batches(
        self, batch_config: BatchConfig, context: Context | None = None
    ) -> Iterator[tuple[BaseBatchFileEncoding, list[str]]]:
        """Yield the manifest of each batch file, written by the query itself."""
        encoding, stem = batch_config.encoding, f"{self.tap_name}--{self.name}"
        kind = encoding.format, encoding.compression
        for file in chain.from_iterable(map(self._files, self.partitions)):
            paths = file.write_batches(*kind, batch_config.batch_size)
            what = f"{self.settings.customer}/{file.product} {file.window}"
            for url in store_all(paths, batch_config, stem=stem, what=what):
                yield encoding, [url]

    # From here on, the SDK's private names and wording are used, with reasons. tap.py has one more.

    def _write_state_message(self) -> None:
        # STATE is written after each window; the SDK's own, after each manifest, lacks jobs.
        pass

    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[dict[str, Any]]:
        # The budget of jobs spans products, so one sync is opened around all partitions; the SDK
        # would move the bookmark with records; and it has no public way to write finished messages.
        with self._syncing():
            if self._is_incremental and self.ABORT_AT_RECORD_COUNT is None and self._unmapped:
                self._write_in_bulk()
                return
            records = chain.from_iterable(map(self.get_records, self.partitions))
            for count, record in enumerate(records):
                self._check_max_record_limit(count)
                if write_messages:
                    self._write_record_message(record)
                yield record

    def _sync_batches(self, batch_config: BatchConfig, context: Any = None) -> None:
        if not self._unmapped:
            raise SettingError(
                "settings stream_maps and flattening_enabled cannot be combined with "
                "batch_config: batch files do not pass through them; remove one or the other"
            )
        check_storage(batch_config.storage)
        with self._syncing():
            super()._sync_batches(batch_config, context)


def is_no_sdk_notice(record: logging.LogRecord) -> bool:
    """Return False for two log lines of the SDK, which cannot be suppressed in any other way.

    The first is untrue here: the tap reads the environment itself. The second repeats that there
    was an error, which the command line reports in its last line.
    """
    return not str(record.msg).startswith(
        ("Skipping parse of env var", "An unhandled error occurred while syncing")
    )

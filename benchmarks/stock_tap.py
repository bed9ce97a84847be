"""A stock SDK tap that reads an export file from disk: a generator, and the SDK's own writer.

``csv.reader`` in a generator, the SDK's own writer and settings, nothing overridden; the same
records as the tap makes, without its checks.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from singer_sdk import Stream, Tap
from singer_sdk import typing as th

from benchmarks.csv_records import COLUMNS, records


class StockStream(Stream):
    """Events of one file."""

    name = "events"
    primary_keys: ClassVar[Sequence[str]] = ("event_id",)
    schema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("event_id", th.StringType, required=True),
        th.Property("customer", th.StringType, required=True),
        th.Property("product", th.StringType, required=True),
        th.Property("timestamp", th.DateTimeType, required=True),
        th.Property("type", th.StringType, required=True),
        *(th.Property(name, th.StringType) for name in COLUMNS),
        th.Property("extra", th.ObjectType(additional_properties=th.StringType)),
        th.Property("end", th.DateTimeType, required=True),
    ).to_dict()

    def get_records(self, context: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
        """Yield the events of the file."""
        yield from records(self.config)


class StockTap(Tap):
    """Reads one export file."""

    name = "stock-tap"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("path", th.StringType, required=True),
        th.Property("customer", th.StringType, required=True),
        th.Property("product", th.StringType, required=True),
        th.Property("start", th.IntegerType, required=True),
        th.Property("end", th.IntegerType, required=True),
    ).to_dict()

    def discover_streams(self) -> Sequence[Stream]:
        """Return the one stream."""
        return [StockStream(self)]


if __name__ == "__main__":
    StockTap.cli()

"""The options of the emulator: what the service's documentation leaves open.

Each option is an argument of ``Emulator``, an attribute that may be changed while it runs
(jobs keep the values of their start), and a flag of the command.
"""

from __future__ import annotations  # the command reads the types of options as text

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from barchart_events_emulator.sample_data import columns_of


def option(default: Any, meaning: str, *choices: str) -> Any:
    """Declare an option: its default, its meaning for ``--help``, and its choices if few."""
    return field(default=default, metadata={"help": meaning, "choices": choices or None})


@dataclass(kw_only=True)
class Options:
    """All options of the emulated service."""

    seed: int = option(7, "the same seed gives the same events")
    events_per_hour: float = option(
        1000.0, "mean number of events an hour of a customer and product"
    )
    population: str = option(
        "random",
        "events are independent of each other, or those of users with habits of their own, whose "
        "sessions follow paths: then events_per_hour is that of the largest product, and rhythm, "
        "hourly_noise, added_column and special characters do not matter",
        "random",
        "users",
    )
    rhythm: str = option(
        "product", "how events spread over the week", "product", "working-week", "none"
    )
    hourly_noise: float = option(
        0.0, "each hour has more or fewer events by a lognormal factor with this sigma"
    )
    job_seconds: float = option(0.05, "how long a job runs, whatever it holds")
    job_variation: float = option(0.25, "share by which the time of a job differs at most")
    max_events: int | None = option(None, "a job with more events ends TIMEOUT")
    too_large_factor: float = option(
        1.0, "a job with more than max_events runs this many times as long"
    )
    max_running_jobs: int | None = option(
        None, "a start is refused, with status 429, while this many jobs are running"
    )
    date_header: bool = option(
        default=True, meaning="responses have a Date header, by the service's clock"
    )
    end_inclusive: bool = option(default=True, meaning="an event at the filter's end is exported")
    whole_seconds: bool = option(
        default=False, meaning="the filter's start and end are cut to whole seconds"
    )
    header: bool = option(default=False, meaning="the file starts with a header row")
    header_style: str = option(
        "camelCase", "names in the header", "camelCase", "snake_case", "upper", "lower", "words"
    )
    shuffled_columns: bool = option(
        default=False, meaning="the columns come in another order, timestamp anywhere"
    )
    time_order: bool = option(default=True, meaning="rows come in order of time")
    quoting: str = option(
        "none",
        "which fields are quoted; if any, some values have delimiters, quotes and line breaks",
        "none",
        "minimal",
        "all",
    )
    newline: str = option("\n", "end of each row", "\n", "\r\n")
    last_newline: bool = option(default=True, meaning="the last row has its newline too")
    gzip: bool = option(default=True, meaning="compress downloads for clients that accept gzip")
    content_length: bool = option(default=True, meaning="downloads have a Content-Length")
    throttle: float | None = option(None, "upper limit of bytes a second of a download")
    complete_status: str = option(
        "COMPLETE", "the status of a finished job", "COMPLETE", "COMPLETED"
    )
    numbers_as_strings: bool = option(
        default=False, meaning="responses give the filter's start and end as strings"
    )
    layout: str = option("current", "columns of the file", "current", "documented")
    added_column: str | None = option(
        None, "a column that the vendor has added in the middle of every product's file"
    )
    late_share: float = option(
        0.0, "share of events that can be exported only some time after they occurred, 0 to 1"
    )
    late_seconds: float | None = option(
        None, "how long after they occurred late events can be exported; never if left out"
    )

    columns: Mapping[str, Sequence[str]] | None = None
    """Product → columns of its file (camelCase), instead of those of ``layout``."""

    def __post_init__(self) -> None:
        """Refuse values that an option cannot have.

        Raises:
            ValueError: An option has such a value.
        """
        for one in fields(self):
            choices = one.metadata.get("choices")
            if choices and getattr(self, one.name) not in choices:
                raise ValueError(f"{one.name} must be one of {', '.join(map(repr, choices))}")

    def columns_of(self, product: str) -> tuple[str, ...]:
        """Return the columns of a product's file, camelCase, in order."""
        if self.columns is not None and product in self.columns:
            return tuple(self.columns[product])
        return columns_of(product, self.layout, self.added_column)

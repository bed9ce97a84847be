"""The switches of the emulator: what may differ between services, and what nobody promises.

Each switch is an argument of ``Emulator``, an attribute that may be changed while it runs
(jobs keep what held when they started), and a flag of the command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from barchart_events_emulator.sample_data import columns_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def switch(default: Any, meaning: str, *choices: str) -> Any:  # noqa: ANN401 - like dataclasses.field
    """Declare a switch: its default, its meaning for ``--help``, and its choices if few."""
    return field(default=default, metadata={"help": meaning, "choices": choices or None})


@dataclass(kw_only=True)
class Switches:
    """Everything that can be chosen about the emulated service."""

    seed: int = switch(7, "what events there are: the same seed, the same events")
    events_per_hour: float = switch(
        1000.0, "mean number of events of a customer and product, with the rhythm of day and week"
    )
    job_seconds: float = switch(0.05, "how long a job runs, give or take a quarter")
    max_events: int | None = switch(None, "a job with more events ends TIMEOUT")
    end_inclusive: bool = switch(default=True, meaning="an event at the filter's end is exported")
    header: bool = switch(default=False, meaning="the file starts with a header row")
    header_style: str = switch("camelCase", "names in the header", "camelCase", "snake_case")
    shuffled_columns: bool = switch(
        default=False, meaning="the columns come in another order, timestamp anywhere"
    )
    time_order: bool = switch(default=True, meaning="rows come in order of time")
    quoting: str = switch("none", "which fields are quoted", "none", "minimal", "all")
    awkward_values: bool | None = switch(
        None, "some values hold delimiters, quotes, line breaks; as a rule if there is quoting"
    )
    newline: str = switch("\n", "end of each row", "\n", "\r\n")
    last_newline: bool = switch(default=True, meaning="the last row has its newline too")
    gzip: bool = switch(default=True, meaning="compress downloads for clients that accept gzip")
    content_length: bool = switch(default=True, meaning="downloads tell their length")
    throttle: float | None = switch(None, "bytes a second that a download gets at most")
    complete_status: str = switch(
        "COMPLETE", "what a finished job is called", "COMPLETE", "COMPLETED"
    )
    numbers_as_strings: bool = switch(
        default=False, meaning="answers give the filter's start and end as strings"
    )
    layout: str = switch("current", "columns of the file", "current", "documented")
    added_column: str | None = switch(
        None, "a column that the vendor has put into the middle of every product's file"
    )
    link_seconds: float = switch(900.0, "how long a download link works")
    late_share: float = switch(0.0, "share of the events that appear late, 0 to 1")
    late_seconds: float | None = switch(
        None, "how long after they occurred late events appear; never by themselves if left out"
    )

    columns: Mapping[str, Sequence[str]] | None = None
    """Product → columns of its file (camelCase), instead of those of ``layout``."""

    def columns_of(self, product: str) -> tuple[str, ...]:
        """Return the columns of a product's file, camelCase, in order."""
        if self.columns is not None and product in self.columns:
            return tuple(self.columns[product])
        return columns_of(product, self.layout, self.added_column)

    @property
    def awkward(self) -> bool:
        """Whether values with delimiters, quotes and line breaks occur."""
        return self.quoting != "none" if self.awkward_values is None else self.awkward_values

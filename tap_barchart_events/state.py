"""The STATE of one product: how it is read, moved on and written.

Only the bookmark decides what is extracted. Everything else may be missing, damaged or from
another version, and is then ignored. Depends on neither the network nor files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tap_barchart_events.config.codes import unknown_codes
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.seen_columns import SeenColumns
from tap_barchart_events.windows import from_iso, to_iso

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping, MutableMapping, Sequence
    from typing import TypeGuard

    from tap_barchart_events.config.settings import Settings
    from tap_barchart_events.windows import Window

ALL_TYPES = "all"
"""The value of ``event_types`` in STATE if all types were extracted."""


@dataclass(frozen=True, slots=True)
class ProductState:
    """What STATE holds of one product.

    The invariant: all events of ``event_types`` that occurred in ``[history_start, bookmark)``
    have been written.
    """

    history_start: int
    """Where the history began, inclusive, in milliseconds."""

    event_types: tuple[str, ...] | None
    """The types that are complete up to the bookmark; None: all."""

    bookmark: int | None = None
    """End of the last finished window, in milliseconds; None before the first."""

    jobs: list[Any] = field(default_factory=list)
    """Export jobs that are still under way or not yet emitted, as JSON. Not checked here."""

    learnt: dict[str, Any] = field(default_factory=dict)
    """What was learnt for sizing windows, as JSON. Not checked here."""

    columns: SeenColumns = field(default_factory=SeenColumns)
    """Which columns the files had until now."""

    @classmethod
    def read(
        cls, partition: Mapping[str, Any], *, start_date: int, event_types: Sequence[str]
    ) -> ProductState:
        """Read what STATE holds of a product.

        Args:
            partition: The product's partition in STATE.
            start_date: The setting, for a STATE without the start of its history.
            event_types: The setting, for a STATE without types.

        Raises:
            SettingError: The bookmark is not a date-time.
        """
        bookmark = _bookmark(partition)
        types = partition.get("event_types")
        if bookmark is not None and types == ALL_TYPES:
            complete = None
        elif bookmark is not None and _is_list_of_codes(types):
            complete = tuple(types)
        else:
            complete = tuple(event_types) or None
        start = _instant(partition.get("history_start"))
        if start is None or bookmark is None or start > bookmark:
            start = start_date
        jobs, learnt = partition.get("jobs"), partition.get("learnt")
        return cls(
            history_start=start,
            event_types=complete,
            bookmark=bookmark,
            jobs=jobs if isinstance(jobs, list) else [],
            learnt=learnt if isinstance(learnt, dict) else {},
            columns=SeenColumns.from_json(partition.get("columns")),
        )

    def write_to(self, partition: MutableMapping[str, Any], replication_key: str) -> None:
        """Write it to the product's partition in STATE."""
        for name in ("event_types", "history_start", "jobs", "learnt", "columns"):
            partition.pop(name, None)
        if self.bookmark is not None:
            partition["replication_key"] = replication_key
            partition["replication_key_value"] = to_iso(self.bookmark)
            partition["event_types"] = (
                ALL_TYPES if self.event_types is None else [*self.event_types]
            )
            partition["history_start"] = to_iso(self.history_start)
        if self.jobs:
            partition["jobs"] = self.jobs
        if self.learnt:
            partition["learnt"] = self.learnt
        if columns := self.columns.to_json():
            partition["columns"] = columns

    def advanced(self, done: Window, event_types: Sequence[str]) -> ProductState:
        """Return the state after a run has written all events of a range.

        The bookmark never moves back. If the range starts after the bookmark, or no later than the
        history, the history starts where the range does, with the types of the range. Otherwise
        the history keeps its start, and only the types common to both stay complete.

        Args:
            done: From where this run began to the end of the window that it has finished.
            event_types: The types that it requested; none means all.
        """
        if self.bookmark is not None and done.end <= self.bookmark:
            return self
        start, types = done.start, tuple(event_types) or None
        if self.bookmark is not None and self.history_start < start <= self.bookmark:
            start = self.history_start
            if types is None:
                types = self.event_types
            elif self.event_types is not None:
                types = tuple(code for code in types if code in self.event_types)
        return replace(self, bookmark=done.end, history_start=start, event_types=types)

    def incomplete_types(self, event_types: Sequence[str]) -> str:
        """Return the requested types that are not complete up to the bookmark; empty if all are.

        Args:
            event_types: The requested types; none means all.
        """
        if self.bookmark is None or self.event_types is None:
            return ""
        if not event_types:
            return f"all but {', '.join(self.event_types)}" if self.event_types else "all"
        return ", ".join(code for code in event_types if code not in self.event_types)


def log_warnings(
    states: Mapping[str, ProductState], settings: Settings, logger: logging.Logger
) -> None:
    """Log what a sync will not extract. It is called before the first request.

    Args:
        states: What STATE holds of each product.
        settings: The settings.
        logger: Where warnings go.
    """
    for warning in unknown_codes(settings.products, settings.event_types, settings.columns):
        logger.warning(warning)
    for product, state in states.items():
        for warning in warnings(
            state,
            start_date=settings.start_date,
            lookback=settings.lookback,
            event_types=settings.event_types,
        ):
            logger.warning("%s/%s: %s", settings.customer, product, warning)


def warnings(
    state: ProductState, *, start_date: int, lookback: int, event_types: Sequence[str]
) -> Iterator[str]:
    """Yield a warning for each range or type that is set, and that a run will not extract.

    Args:
        state: What STATE holds of a product.
        start_date: In milliseconds.
        lookback: In milliseconds.
        event_types: The requested types; none means all.
    """
    if state.bookmark is None:
        return
    bookmark = to_iso(state.bookmark)
    start = max(start_date, state.bookmark - lookback)
    if start_date > state.bookmark:
        yield (
            f"start_date is later than the bookmark, so events from {bookmark} to "
            f"{to_iso(start_date)} are not extracted; to extract them, set start_date back"
        )
    elif start_date < state.history_start < start:
        yield (
            f"start_date is earlier than the start of the history in STATE, so events from "
            f"{to_iso(start_date)} to {to_iso(state.history_start)} are not extracted; {_HOW}"
        )
    types = state.incomplete_types(event_types)
    if types and state.history_start < start <= state.bookmark:
        yield (
            f"event_types have changed: events before the bookmark, {bookmark}, are incomplete "
            f"for {types}; {_HOW}"
        )


_HOW = (
    "to extract them, run once with a STATE of its own, or reset STATE to extract everything "
    "again (docs/operations.md)"
)


def _bookmark(partition: Mapping[str, Any]) -> int | None:
    value = partition.get("replication_key_value")
    if value is None:
        return None
    bookmark = _instant(value)
    if bookmark is None:
        product = (partition.get("context") or {}).get("product")
        raise SettingError(
            f"the bookmark of {product} in STATE is {str(value)[:100]!r}, which is not a "
            "date-time; correct it, or remove it to begin at start_date"
        )
    return bookmark


def _instant(value: Any) -> int | None:
    try:
        return from_iso(value)
    except (AttributeError, ValueError):
        return None


def _is_list_of_codes(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(code, str) for code in value)

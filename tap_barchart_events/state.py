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

    from tap_barchart_events.config.settings import Settings

ALL_TYPES = "all"
"""The value of ``event_types`` in STATE if the setting names none."""


@dataclass(frozen=True, slots=True)
class ProductState:
    """What STATE holds of one product."""

    bookmark: int | None = None
    """End of the last finished window, in milliseconds; None before the first."""

    event_types: tuple[str, ...] | None = None
    """The setting of the run that wrote the bookmark; None: not known."""

    start_date: int | None = None
    """The setting of the run that wrote the bookmark, in milliseconds; None: not known."""

    jobs: list[Any] = field(default_factory=list)
    """Export jobs that are still under way or not yet emitted, as JSON. Not checked here."""

    learnt: dict[str, Any] = field(default_factory=dict)
    """What was learnt for sizing windows, as JSON. Not checked here."""

    columns: SeenColumns = field(default_factory=SeenColumns)
    """Which columns the files had until now."""

    @classmethod
    def read(cls, partition: Mapping[str, Any]) -> ProductState:
        """Read a product's partition in STATE.

        Raises:
            SettingError: The bookmark is not a date-time.
        """
        types = partition.get("event_types")
        types = [] if types == ALL_TYPES else types
        jobs, learnt = partition.get("jobs"), partition.get("learnt")
        return cls(
            bookmark=_bookmark(partition),
            event_types=tuple(map(str, types)) if isinstance(types, list) else None,
            start_date=_instant(partition.get("start_date")),
            jobs=jobs if isinstance(jobs, list) else [],
            learnt=learnt if isinstance(learnt, dict) else {},
            columns=SeenColumns.from_json(partition.get("columns")),
        )

    def write_to(self, partition: MutableMapping[str, Any], replication_key: str) -> None:
        """Write it to the product's partition in STATE."""
        # An earlier version wrote history_start.
        for name in ("event_types", "start_date", "history_start", "jobs", "learnt", "columns"):
            partition.pop(name, None)
        if self.bookmark is not None:
            partition["replication_key"] = replication_key
            partition["replication_key_value"] = to_iso(self.bookmark)
        if self.event_types is not None:
            partition["event_types"] = [*self.event_types] or ALL_TYPES
        if self.start_date is not None:
            partition["start_date"] = to_iso(self.start_date)
        if self.jobs:
            partition["jobs"] = self.jobs
        if self.learnt:
            partition["learnt"] = self.learnt
        if columns := self.columns.to_json():
            partition["columns"] = columns

    def finished(self, end: int, settings: Settings) -> ProductState:
        """Return the state after all events of a window are written; the bookmark never goes back.

        Args:
            end: The window's end, in milliseconds.
            settings: The settings of this run.
        """
        return replace(
            self,
            bookmark=end if self.bookmark is None else max(end, self.bookmark),
            event_types=tuple(settings.event_types),
            start_date=settings.start_date,
        )


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
        for warning in _warnings(state, settings):
            logger.warning("%s/%s: %s", settings.customer, product, warning)


def _warnings(state: ProductState, settings: Settings) -> Iterator[str]:
    """Yield what a run will not extract because settings differ from those of the last run."""
    if state.bookmark is None:
        return
    bookmark, start_date = to_iso(state.bookmark), to_iso(settings.start_date)
    begin = max(settings.start_date, state.bookmark - settings.lookback)
    last = settings.start_date if state.start_date is None else state.start_date
    missing_until = min(last, begin)
    if settings.start_date > state.bookmark:
        yield (
            f"start_date is later than the bookmark, so events from {bookmark} to {start_date} are "
            "not extracted; to extract them, set start_date back"
        )
    elif settings.start_date < missing_until:
        yield (
            f"start_date is earlier than that of the last run, so events from {start_date} to "
            f"{to_iso(missing_until)} are not extracted; {_HOW}"
        )
    if state.event_types is None:
        return
    added = _not_in(state.event_types, settings.event_types)
    if added and settings.start_date < begin:
        yield (
            f"event_types have changed, so events before {to_iso(begin)} are not extracted for "
            f"{added}; {_HOW}"
        )
    removed = _not_in(settings.event_types, state.event_types)
    if removed:
        yield (
            f"event_types have changed, so events from {bookmark} on are not extracted for "
            f"{removed}; to extract them, name these types again"
        )


_HOW = (
    "to extract them, run once with a STATE of its own, or reset STATE to extract everything "
    "again (docs/operations.md)"
)


def _not_in(others: Sequence[str], types: Sequence[str]) -> str:
    """Return the types that others lack; where none are named, they are all."""
    if others and not types:
        return f"all but {', '.join(others)}"
    return ", ".join(code for code in types if code not in others) if others else ""


def _bookmark(partition: Mapping[str, Any]) -> int | None:
    value = partition.get("replication_key_value")
    bookmark = _instant(value)
    if bookmark is None and value is not None:
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

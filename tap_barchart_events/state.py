"""The STATE of one product: how it is read, advanced and written.

Only the bookmark decides what is extracted. Everything else may be missing, damaged or from
another version, and is then ignored. Depends on neither the network nor files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from hashlib import md5
from typing import Any

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.files.check import FileContents
from tap_barchart_events.products import IDENTITY_COLUMNS
from tap_barchart_events.settings import Settings
from tap_barchart_events.windows import from_iso, to_iso

ALL_TYPES = "all"
"""The value of ``event_types`` in STATE if the setting names none."""

MAX_NAMES = 20
"""The most names that STATE keeps of the columns that went to ``extra``."""

MAX_LENGTH = 32
"""The most characters of such a name; for a longer one, STATE keeps a hash."""


@dataclass(frozen=True, slots=True)
class ProductState:
    """What STATE holds for one product."""

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

    columns: int = 0
    """The known columns that the last file had: a bit for each, in their frozen order."""

    extra: tuple[str, ...] = ()
    """Columns that went to ``extra``, oldest first; for a long name, its hash."""

    @classmethod
    def read(cls, partition: Mapping[str, Any]) -> ProductState:
        """Read a product's partition in STATE.

        Raises:
            SettingError: The bookmark is not a date-time.
        """
        value = partition.get("replication_key_value")
        bookmark = _instant(value)
        if bookmark is None and value is not None:
            product = (partition.get("context") or {}).get("product")
            raise SettingError(
                f"the bookmark of {product} in STATE is {str(value)[:100]!r}, which is not a "
                "date-time; correct it, or remove it to begin at start_date"
            )
        types = partition.get("event_types")
        types = [] if types == ALL_TYPES else types
        jobs, learnt = partition.get("jobs"), partition.get("learnt")
        known, extra = _seen_columns(partition.get("columns"))
        return cls(
            bookmark=bookmark,
            event_types=tuple(map(str, types)) if isinstance(types, list) else None,
            start_date=_instant(partition.get("start_date")),
            jobs=jobs if isinstance(jobs, list) else [],
            learnt=learnt if isinstance(learnt, dict) else {},
            columns=known,
            extra=extra,
        )

    def write_to(self, partition: MutableMapping[str, Any], replication_key: str) -> None:
        """Write it to the product's partition in STATE, in place of what that held."""
        columns = {"known": self.columns and f"{self.columns:x}", "extra": self.extra[:MAX_NAMES]}
        types = None if self.event_types is None else [*self.event_types] or ALL_TYPES
        entries = {
            "context": partition.get("context"),
            "replication_key": None if self.bookmark is None else replication_key,
            "replication_key_value": None if self.bookmark is None else to_iso(self.bookmark),
            "event_types": types,
            "start_date": None if self.start_date is None else to_iso(self.start_date),
            "jobs": self.jobs,
            "learnt": self.learnt,
            "columns": {name: value for name, value in columns.items() if value},
        }
        kept = {name: value for name, value in entries.items() if value}
        partition.update(kept)  # first: a signal in between must not empty it
        for name in partition.keys() - kept.keys():
            del partition[name]

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

    def after_file(self, product: str, contents: FileContents) -> tuple[ProductState, list[str]]:
        """Return the state with the columns of a file, and warnings about what changed with it."""
        layout, known = contents.layout, IDENTITY_COLUMNS.get(product, ())
        if layout is None:
            return self, []
        warnings = []
        had = [name for bit, name in enumerate(known) if self.columns >> bit & 1]
        lacking = [name for name in had if name not in layout.names]
        if lacking and not layout.by_position:
            others = [name for name in layout.names if name not in known]
            warnings.append(
                "the header lacks columns that earlier files had, so they are null: "
                f"{', '.join(_with_nearest(name, others) for name in lacking)}; contact Barchart "
                "support: they may have been renamed"
            )
        # A known column that is there is one that the catalog lacks, which is reported elsewhere.
        new = {name: _kept(name) for name in contents.extra_columns if name not in known}
        new = {name: kept for name, kept in new.items() if kept not in self.extra}
        if new:
            warnings.append(
                "columns that are not in the schema go to extra, if it is selected: "
                f"{', '.join(sorted(new))}"
            )
        bits = sum(1 << bit for bit, name in enumerate(known) if name in layout.names)
        return replace(self, columns=bits, extra=(*self.extra, *new.values())), warnings

    def warnings(self, settings: Settings) -> Iterator[str]:
        """Yield what a run will not extract because settings differ from those of the last run."""
        if self.bookmark is None:
            return
        bookmark, start_date = to_iso(self.bookmark), to_iso(settings.start_date)
        begin = max(settings.start_date, self.bookmark - settings.lookback)
        if settings.start_date > self.bookmark:
            yield (
                f"start_date is later than the bookmark, so events from {bookmark} to {start_date} "
                "are not extracted; to extract them, set start_date back"
            )
        elif self.start_date is not None and settings.start_date < min(self.start_date, begin):
            yield (
                "start_date is earlier than in the last run, but the sync continues from the "
                f"bookmark, so events from {start_date} to {to_iso(min(self.start_date, begin))} "
                f"are not extracted; to extract them, {_HOW}"
            )
        if self.event_types is not None and {*self.event_types} != {*settings.event_types}:
            old, new = (
                ", ".join(types) or "all types"
                for types in (self.event_types, settings.event_types)
            )
            yield (
                f"event_types has changed: up to {to_iso(begin)}, events of {old} have been "
                f"extracted; from {bookmark} on, events of {new} will be; to extract others, {_HOW}"
            )


_HOW = (
    "run once with a separate STATE, or reset STATE to extract everything again "
    "(docs/operations.md)"
)


def _seen_columns(value: Any) -> tuple[int, tuple[str, ...]]:
    """Read which columns the files had so far: bits of the known ones, and extra ones."""
    try:
        known, extra = value.get("known", "0"), value.get("extra", [])
        names = tuple(str(name)[:MAX_LENGTH] for name in extra[:MAX_NAMES])
        return max(int(known[:MAX_LENGTH], 16), 0), names
    except (AttributeError, KeyError, TypeError, ValueError):
        return 0, ()


def _with_nearest(name: str, others: Sequence[str]) -> str:
    near = get_close_matches(name, others, 1)
    return f"{name} (the nearest name is {near[0]})" if near else name


def _kept(name: str) -> str:
    """Return a name as STATE keeps it."""
    if len(name) <= MAX_LENGTH:
        return name
    return md5(name.encode(), usedforsecurity=False).hexdigest()


def _instant(value: Any) -> int | None:
    try:
        return from_iso(value)
    except (AttributeError, ValueError):
        return None

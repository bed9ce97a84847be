"""Layout detection: the columns of an export file by header, by setting, or by a known layout.

Pure: its functions take the fields of the first row, or counts, and return names or raise an
error. It reads no file, and does not depend on DuckDB or Singer.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tap_barchart_events.exceptions import FileError, LayoutError
from tap_barchart_events.products import LEADING, PRODUCTS, Product, snake_case

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TIMESTAMP = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
"""The form of a timestamp: a whole number in its shortest form, of 19 digits at most."""

EXCERPT_LENGTH = 50
"""How many characters of a field an error shows."""

STRAY_LIMIT = 3
"""Up to so many values in foreign columns are stray values, unless they are half of all rows."""

STRAY_SHARE = 0.001
"""Up to this share of the rows, values in foreign columns are stray values as well."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one export file."""

    names: tuple[str, ...]
    """Their names, snake_case, in the file's order; ``timestamp`` and ``type`` among them."""

    header: bool
    """Whether the names are the file's own: then its first row is no event."""

    @property
    def values(self) -> tuple[str, ...]:
        """The names other than ``timestamp`` and ``type``, in the file's order."""
        return tuple(name for name in self.names if name not in LEADING)


def detect_layout(
    first_row: Sequence[str], product: str, columns: Mapping[str, Sequence[str]]
) -> Layout:
    """Return the layout of a file by its first row.

    A row that names both ``timestamp`` and ``type``, in any place, camelCase or not, is a header.
    Without a header, the setting ``columns`` of the product applies, which has timestamp and type
    among its names; without that, the one known layout of the product with that many columns.

    Raises:
        FileError: The row is neither a header nor an event.
        LayoutError: It is not certain which column is which.
    """
    names = tuple(snake_case(field) for field in first_row)
    if set(LEADING) <= set(names):
        _require_unique(names)
        return Layout(names, header=True)
    if len(first_row) == 1:
        raise FileError(
            "the file has one column and no header: set delimiter if the file separates its fields "
            "otherwise; if not, it is no export, and the service or a proxy in between has sent it"
        )
    names = _configured(first_row, product, columns) or _known(first_row, product)
    timestamp = first_row[names.index("timestamp")]
    if not TIMESTAMP.fullmatch(timestamp):
        raise FileError(
            "the first row is neither a header (it would name timestamp and type) nor an event: "
            f"its timestamp is {excerpt(timestamp)}, not a whole number of milliseconds"
        )
    return Layout(names, header=False)


def _configured(
    row: Sequence[str], product: str, columns: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    names = tuple(snake_case(name) for name in columns.get(product, ()))
    if names and len(names) != len(row):
        raise LayoutError(
            f"the file has {len(row)} columns and no header, but the setting columns names "
            f"{len(names)} for {product}: name all {len(row)} there, in the file's order"
        )
    return names


def _known(row: Sequence[str], product: str) -> tuple[str, ...]:
    layouts = PRODUCTS[product].layouts if product in PRODUCTS else ()
    fitting = [layout for layout in layouts if len(layout) == len(row)]
    if len(fitting) == 1:
        return tuple(snake_case(name) for name in fitting[0])
    advice = (
        f"name the {len(row)} columns, in the file's order, in the setting columns: "
        f'{{"{product}": ["timestamp", "type", ...]}}; or, if the file separates its fields '
        "otherwise, set delimiter"
    )
    if fitting:
        raise LayoutError(
            f"the file has {len(row)} columns and no header, and {len(fitting)} known layouts of "
            f"{product} have as many: {advice}"
        )
    if not layouts:
        raise LayoutError(
            f"the file has {len(row)} columns and no header, and the columns of {product} are not "
            f"known: {advice}"
        )
    counts = " or ".join(str(len(layout)) for layout in layouts)
    raise LayoutError(
        f"the file has {len(row)} columns and no header, and the known layouts of {product} have "
        f"{counts}: {advice}"
    )


def _require_unique(names: Sequence[str]) -> None:
    if "" in names:
        raise LayoutError(f"column {names.index('') + 1} has no name in the header of the file")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        names_twice = ", ".join(map(excerpt, repeated[:5]))
        raise LayoutError(f"the header of the file names {names_twice} more than once")


def excerpt(field: str) -> str:
    """Return a field as an error may show it: quoted, at most 50 characters of it."""
    return repr(field if len(field) <= EXCERPT_LENGTH else field[:EXCERPT_LENGTH] + "…")


class LayoutConflicts(NamedTuple):
    """Values in columns that do not belong to the context of their event type."""

    text: str
    """The columns with the most of them, in words; empty if there are none."""

    decisive: bool
    """Whether there are more than stray values, so that the layout is wrong."""


def layout_conflicts(
    product: Product, counts: Iterable[tuple[str, int, Mapping[str, int]]]
) -> LayoutConflicts:
    """Cross-check a layout: an event has values only in the columns of its type's context.

    Columns outside the contexts of all event types, and unknown event types, are not checked.
    Stray values are tolerated. A shifted column is not: it puts values in the wrong place in most
    rows of some event type.

    Args:
        product: The product, with the contexts of its event types.
        counts: For each event type its code, its rows, and per column the rows with a value.
    """
    contexts = {
        code: {snake_case(name) for name in names} for code, names in product.event_types.items()
    }
    known = set().union(*contexts.values())
    found: list[tuple[int, str, str]] = []
    rows_checked = conflicting_rows = 0
    decisive = False
    for code, rows, filled in counts:
        if code not in contexts:
            continue
        rows_checked += rows
        foreign = known - contexts[code]
        conflicts = {name: count for name, count in filled.items() if count and name in foreign}
        found += [(count, code, name) for name, count in conflicts.items()]
        most = max(conflicts.values(), default=0)
        conflicting_rows += most
        decisive = decisive or most > max(STRAY_LIMIT, STRAY_SHARE * rows)
    decisive = decisive or conflicting_rows > max(STRAY_LIMIT, STRAY_SHARE * rows_checked)
    decisive = decisive or 0 < rows_checked <= 2 * conflicting_rows
    found.sort(key=lambda entry: (-entry[0], *entry[1:]))
    text = "; ".join(f"{code} carries {name} in {count:,} rows" for count, code, name in found[:3])
    return LayoutConflicts(text, decisive)

"""Which column of an export file is which: by header, by setting, or by a known layout.

Pure: it is given the first row's fields, or counts, and answers with names or an error. It
reads no file and knows nothing of DuckDB or Singer.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import FileError, LayoutError
from tap_barchart_events.products import LEADING, PRODUCTS, Product, snake_case

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TIMESTAMP = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
"""What a timestamp looks like: a whole number in its shortest form, of 19 digits at most."""

SHOWN = 50
"""How many characters of an offending field are shown."""

FEW = 3
"""So many contradicting values are taken for stray ones, unless they are half of all."""

FEW_SHARE = 0.001
"""And so large a share of the values that could contradict."""


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
    """Return the layout of a file, judged by its first row.

    A row that names both ``timestamp`` and ``type``, in any place, camelCase or not, is a header.
    Without one, the ``columns`` set for the product hold, with timestamp and type among them, or
    else its one known layout of that many columns.

    Raises:
        FileError: The row is neither a header nor an event.
        LayoutError: It cannot be told which column is which.
    """
    names = tuple(snake_case(field) for field in first_row)
    if set(LEADING) <= set(names):
        _require_unique(names)
        return Layout(names, header=True)
    names = _configured(first_row, product, columns) or _known(first_row, product)
    timestamp = first_row[names.index("timestamp")]
    if not TIMESTAMP.fullmatch(timestamp):
        raise FileError(
            "the first row is neither a header (it would name timestamp and type) nor an event: "
            f"its timestamp is {shown(timestamp)}, not a whole number of milliseconds"
        )
    return Layout(names, header=False)


def _configured(
    row: Sequence[str], product: str, columns: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    names = tuple(snake_case(name) for name in columns.get(product, ()))
    if names and len(names) != len(row):
        raise LayoutError(
            f"the file has {_columns(row)} and no header, but the setting columns names "
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
            f"the file has {_columns(row)} and no header, and {len(fitting)} known layouts of "
            f"{product} have as many: {advice}"
        )
    if not layouts:
        raise LayoutError(
            f"the file has {_columns(row)} and no header, and the columns of {product} are not "
            f"known: {advice}"
        )
    counts = " or ".join(str(len(layout)) for layout in layouts)
    raise LayoutError(
        f"the file has {_columns(row)} and no header, and the known layouts of {product} have "
        f"{counts}: {advice}"
    )


def _columns(row: Sequence[str]) -> str:
    return f"{len(row)} column{'s' if len(row) != 1 else ''}"


def _require_unique(names: Sequence[str]) -> None:
    if "" in names:
        raise LayoutError(f"column {names.index('') + 1} has no name in the header of the file")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        names_twice = ", ".join(map(shown, repeated[:5]))
        raise LayoutError(f"the header of the file names {names_twice} more than once")


def shown(field: str) -> str:
    """Return a field as an error may show it: quoted, at most 50 characters of it."""
    return repr(field if len(field) <= SHOWN else field[:SHOWN] + "…")


def layout_conflicts(
    product: Product, counts: Iterable[tuple[str, int, Mapping[str, int]]]
) -> tuple[str, bool]:
    """Hear the event types: an event carries values only in the columns of its own context.

    Columns outside the contexts of all event types, and event types that are not known, have no
    say. Stray values are tolerated, a shifted column is not: it puts values in the wrong place in
    most rows of some event type.

    Args:
        product: The product whose event types testify.
        counts: For each event type its code, its rows, and per column the rows with a value.

    Returns:
        What contradicts, in words, or an empty text; and whether it is more than stray values.
    """
    contexts = {
        code: {snake_case(name) for name in names} for code, names in product.event_types.items()
    }
    known = set().union(*contexts.values())
    found: list[tuple[int, str, str]] = []
    rows_checked = wrong_in_all = 0
    beyond = False
    for code, rows, filled in counts:
        if code not in contexts:
            continue
        rows_checked += rows
        foreign = known - contexts[code]
        wrong = {name: count for name, count in filled.items() if count and name in foreign}
        found += [(count, code, name) for name, count in wrong.items()]
        worst = max(wrong.values(), default=0)
        wrong_in_all += worst
        beyond = beyond or worst > max(FEW, FEW_SHARE * rows)
    beyond = beyond or wrong_in_all > max(FEW, FEW_SHARE * rows_checked)
    beyond = beyond or 0 < rows_checked <= 2 * wrong_in_all
    found.sort(key=lambda entry: (-entry[0], *entry[1:]))
    text = "; ".join(f"{code} carries {name} in {count:,} rows" for count, code, name in found[:3])
    return text, beyond

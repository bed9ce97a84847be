"""Layout detection: the columns of an export file by header, by setting, or by a known layout.

Pure: its functions take the fields of the first row, or counts, and return names or raise an
error. It reads no file, and does not depend on DuckDB or Singer.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

from tap_barchart_events.exceptions import FileError, LayoutError
from tap_barchart_events.products import (
    EVENT_TYPES,
    IDENTITY_COLUMNS,
    LEADING,
    PRODUCTS,
    Product,
    plain,
    snake_case,
)

TypeCount = tuple[str, int, Mapping[str, int]]
"""The code of an event type, its rows and, for each column, those with a value."""

TIMESTAMP = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
"""The form of a timestamp: a whole number in its shortest form, of 19 digits at most."""

MAX_COLUMNS = 1_000
"""The most columns of a file; the widest known layout has 64."""

EXCERPT_LENGTH = 50
"""How many characters of a field an error shows."""

STRAY_LIMIT = 3
"""Up to this many values in foreign columns are stray values, unless they are half of all rows."""

STRAY_SHARE = 0.001
"""Up to this share of the rows may have stray values in foreign columns, too."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one export file."""

    names: tuple[str, ...]
    """Their names, snake_case, in the file's order; ``timestamp`` and ``type`` among them.

    A nameless column is named after its place, such as ``column 3``; no other name has a space.
    """

    header: bool
    """Whether the file's first row is a header, not an event."""

    by_position: bool
    """Whether the names come from the setting or a known layout, not from the header."""


def detect_layout(
    first_row: Sequence[str], product: str, columns: Mapping[str, Sequence[str]]
) -> Layout:
    """Return the layout of a file by its first row.

    A row that names both ``timestamp`` and ``type``, in any place, and holds no known event type,
    is a header. Its names apply, with two exceptions in favour of the setting ``columns``: it has
    the same names and one more; or it has as many names, and those of the header are unusable or
    one is empty. Without such a row, the product's setting applies, even to a file with another
    header; without the setting, the one known layout with that many columns.

    Raises:
        FileError: The row is neither a header nor an event, or has too many columns.
        LayoutError: It is not certain which column is which.
    """
    if len(first_row) > MAX_COLUMNS:
        raise FileError(f"the first row has {len(first_row):,} columns; set delimiter")
    names = _names(first_row, product)
    configured = _names(columns.get(product, ()), product)
    if set(LEADING) <= set(names) and not EVENT_TYPES & set(first_row):
        fault = _fault(names, product)
        replaceable = fault or any(_is_unnamed(name) for name in names)
        # rows may have an empty field at the end that the header lacks
        is_longer = not fault and configured[:-1] == names
        if is_longer or (replaceable and len(configured) == len(names)):
            return Layout(configured, header=True, by_position=True)
        if fault:
            raise LayoutError(f"the header of the file {fault}: {_advice(names, product)}")
        return Layout(names, header=True, by_position=False)
    if len(first_row) == 1:
        raise FileError(
            "the file has one column and no header: set delimiter to what separates its fields; if "
            "nothing does, it is not an export, so check any proxy, or contact Barchart support"
        )
    names = _by_count(first_row, product, configured)
    timestamp = first_row[names.index("timestamp")]
    is_event = TIMESTAMP.fullmatch(timestamp) is not None
    if not is_event and not (configured and _may_be_header(first_row, timestamp)):
        raise FileError(
            "the first row is neither a header with timestamp and type nor an event: its "
            f"timestamp is {excerpt(timestamp)}; if it is a header, {_advice(names, product)}"
        )
    return Layout(names, header=not is_event, by_position=True)


def expected_columns(product: str, columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the columns by the setting, or else those of the shortest known layout.

    The first row does not determine the layout of a file: a quoted value may hold other rows.
    """
    return _names(columns.get(product) or min(_layouts(product), key=len), product)


def _layouts(product: str) -> Sequence[Sequence[str]]:
    return PRODUCTS[product].layouts if product in PRODUCTS else [LEADING]


def _names(fields: Sequence[str], product: str) -> tuple[str, ...]:
    """Return the names of columns in the stream.

    A known column is the field with one of its names, camelCase or snake_case, or else the first
    with its letters and digits. Columns of a product whose ids depend on all names are not known.
    """
    layouts = _layouts(product) if product in IDENTITY_COLUMNS else [LEADING]
    exact = {name: snake_case(name) for layout in layouts for name in layout}
    exact |= {name: name for name in exact.values()}
    similar = {plain(name): name for name in exact.values()}
    taken = {exact[field] for field in fields if field in exact}
    names = []
    for place, field in enumerate(fields, 1):
        name, known = snake_case(field) or f"column {place}", similar.get(plain(field))
        if known and (field in exact or known not in taken):
            name = known
        elif known:
            numbered = (f"{name}_{number}" for number in count(2))
            name = next(free for free in chain([name], numbered) if free not in taken)
        taken.add(name)
        names.append(name)
    return tuple(names)


def _is_unnamed(name: str) -> bool:
    return " " in name


def _fault(names: Sequence[str], product: str) -> str:
    """Return why the names of a header are unusable; empty if they are usable."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        return f"has {', '.join(map(excerpt, repeated[:5]))} more than once"
    if product in IDENTITY_COLUMNS and not set(IDENTITY_COLUMNS[product]) & set(names):
        return f"has none of the columns of {product}, so events could not be told apart"
    return ""


def _may_be_header(row: Sequence[str], timestamp: str) -> bool:
    """Return whether a first row that is not an event is certainly not a damaged one either."""
    named = row if row[-1].strip() else row[:-1]
    return (
        len(set(row)) == len(row)
        and all(field.strip() for field in named)
        and not EVENT_TYPES & set(row)
        and not any(field.strip().removeprefix("-").isdigit() for field in row)
        and not timestamp.strip()[:1].isdigit()
    )


def _by_count(row: Sequence[str], product: str, configured: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of a file without a header: by the setting, or the known layout."""
    has = f"the file has {len(row)} columns and no header"
    if configured:
        if len(configured) == len(row):
            return configured
        raise LayoutError(
            f"{has}, but the setting columns lists {len(configured)}: {_advice(row, product)}"
        )
    known = {len(layout): layout for layout in _layouts(product)} if product in PRODUCTS else {}
    if len(row) in known:
        return tuple(map(snake_case, known[len(row)]))
    counts = f"have {' or '.join(map(str, known))}" if known else "are not known"
    raise LayoutError(
        f"{has}, but the layouts of {product} {counts}: {_advice(row, product)}, or set delimiter "
        "to what separates its fields"
    )


def _advice(row: Sequence[str], product: str) -> str:
    return (
        f"list the {len(row)} columns, in the file's order, in the setting columns: "
        f'{{"{product}": ["timestamp", "type", ...]}}'
    )


def excerpt(field: str) -> str:
    """Return a field as an error may show it: quoted, at most 50 characters of it."""
    return repr(field if len(field) <= EXCERPT_LENGTH else field[:EXCERPT_LENGTH] + "…")


def check_layout(
    layout: Layout,
    product: str,
    layout_check: str,
    filled: Mapping[str, int],
    by_type: Iterable[TypeCount],
) -> tuple[str, ...]:
    """Check columns against the values of all rows; return warnings.

    Args:
        layout: The columns.
        product: The product code.
        layout_check: ``error`` or ``warning``: what follows when event types contradict the layout.
        filled: For each column the rows with a value.
        by_type: Counts of each event type of the product.

    Raises:
        LayoutError: A column without a name has values, or event types contradict the layout.
    """
    for name in filter(_is_unnamed, layout.names):
        if filled[name]:
            raise LayoutError(
                f"{name} has no name in the header of the file, but values in {filled[name]:,} of "
                f"the rows: {_advice(layout.names, product)}"
            )
    if not layout.by_position or product not in PRODUCTS:
        return ()  # a header's own names need no cross-check
    conflicts, is_decisive = layout_conflicts(PRODUCTS[product], by_type)
    if is_decisive and layout_check == "error":
        raise LayoutError(
            f"its columns seem to be shifted: {conflicts}; {_advice(layout.names, product)}; or, "
            "if the columns are right, set layout_check to warning"
        )
    return (conflicts,) if conflicts else ()


def layout_conflicts(product: Product, by_type: Iterable[TypeCount]) -> tuple[str, bool]:
    """Cross-check a layout: an event has values only in the columns of its type's context.

    Columns outside the contexts of all event types are not checked. Stray values are tolerated. A
    shifted column is not: it puts values in the wrong place in most rows of some event type.

    Returns:
        The columns with the most conflicting values, in words; empty if there are none. And
        whether there are more than stray values, so that the layout is wrong.
    """
    contexts = {code: {*map(snake_case, names)} for code, names in product.event_types.items()}
    known = set().union(*contexts.values())
    found: list[tuple[int, str, str]] = []
    checked: list[tuple[int, int]] = []
    for code, rows, filled in by_type:
        foreign = known - contexts[code]
        conflicts = {name: count for name, count in filled.items() if count and name in foreign}
        found += [(count, code, name) for name, count in conflicts.items()]
        checked.append((rows, max(conflicts.values(), default=0)))
    all_rows, conflicting = sum(rows for rows, _ in checked), sum(most for _, most in checked)
    is_decisive = 0 < all_rows <= 2 * conflicting or any(
        most > max(STRAY_LIMIT, STRAY_SHARE * rows)
        for rows, most in [*checked, (all_rows, conflicting)]
    )
    found.sort(key=lambda entry: (-entry[0], *entry[1:]))
    text = "; ".join(f"{code} has values in {name} in {n:,} rows" for n, code, name in found[:3])
    text += ", although these event types have no such columns" if found else ""
    return text, is_decisive

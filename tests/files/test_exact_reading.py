"""Export files → events, against a slow and obvious reading."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.exceptions import FileError
from tests.export_files import (
    START,
    WATCHLIST,
    by_id,
    checked,
    events_of,
    is_timestamp,
    read,
    records_in_lines,
    refusal,
    row,
    rows_of,
    swallowed_rows,
    text,
)

WIDTH = len(WATCHLIST)

ODD = "|\"\n\r,;' \\\0é\u2028😀\x01\x1f\x7fa#\ufeff"
lines = st.sampled_from(["", "x", "|", f"{START}|T|||||||", f"{START}|T", '"', "a|b"])
cells = (
    st.text(alphabet=ODD, max_size=6)
    | st.sampled_from(["AAPL", "NULL", "null", "\\N", "0", "1e5", "NaN", "true", " x", '{"a":1}'])
    | st.sampled_from(["", "", '"', '""', "x "])
    | st.builds(str.join, st.sampled_from(["\n", "\r\n"]), st.lists(lines, max_size=3))
)
timestamps = st.integers(START - 3, START + 6).map(str)
rows_of_cells = st.lists(
    st.tuples(timestamps, *[cells] * (WIDTH - 1)).map(list), min_size=1, max_size=8
)


def written(
    rows: Sequence[Sequence[str]],
    delimiter: str,
    quote: str,
    line_break: str,
    *,
    quote_all: bool,
    last_break: bool,
    mark: bool,
) -> bytes:
    special = {delimiter, quote, "\n", "\r", " "}

    def field(value: str) -> str:
        if quote_all or special & set(value):
            return quote + value.replace(quote, quote * 2) + quote
        return value

    lines = line_break.join(delimiter.join(map(field, values)) for values in rows)
    return ("\ufeff" * mark + lines + line_break * last_break).encode()


@given(
    rows=rows_of_cells,
    header=st.booleans(),
    delimiter=st.sampled_from("|,\t; a"),
    quote=st.sampled_from("\"'{~"),
    line_break=st.sampled_from(["\n", "\r\n"]),
    quote_all=st.booleans(),
    last_break=st.booleans(),
    mark=st.booleans(),
)
def test_what_is_quoted_well_is_read_exactly_but_a_value_that_holds_a_row(
    *,
    rows: list[list[str]],
    header: bool,
    delimiter: str,
    quote: str,
    **how: Any,
) -> None:
    data = written([list(WATCHLIST)] * header + rows, delimiter, quote, **how)
    expected = events_of(rows, WATCHLIST)
    options: dict[str, Any] = {
        "delimiter": delimiter,
        "quote_character": quote,
        "layout_check": "warning",
    }

    if swallowed_rows(data, WIDTH, delimiter, quote):
        assert "the quoted value that begins on line" in refusal(data, **options)
        return
    if not expected:  # each row is earlier than the window
        assert "is inside this window" in refusal(data, **options)
        return
    with checked(data, **options) as export:
        contents = export.contents
        records = list(export.records())
        in_lines = list(records_in_lines(export))

    assert contents.events == len(expected)
    assert by_id(records) == by_id(expected)
    assert in_lines == records


PIECES = [*'|"\n\r aéx\0', "\r\n", '""', "||"]
pieces = st.sampled_from([b"\xff", *(piece.encode() for piece in PIECES)])
fragments = st.lists(pieces, max_size=3).map(b"".join)
good_or_odd = st.sampled_from([b"", b"", b"", b"v", b'"v"', b'"|"', b'"\n"']) | fragments
loose_rows = st.lists(
    st.tuples(
        st.just(str(START).encode()) | fragments,
        st.lists(good_or_odd, min_size=WIDTH - 1, max_size=WIDTH - 1),
        st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b""]),
    ).map(lambda parts: b"|".join([parts[0], *parts[1]]) + parts[2]),
    max_size=4,
).map(b"".join)


@given(
    data=loose_rows.map(lambda data: str(START).encode() + b"|first|||||||\n" + data),
    quote=st.sampled_from(['"', ""]),
)
def test_any_bytes_are_read_exactly_or_refused(data: bytes, quote: str) -> None:
    rows = rows_of(data, quote=quote)
    good = rows is not None and all(len(r) == WIDTH and is_timestamp(r[0]) for r in rows)
    if not good:
        with pytest.raises(FileError):
            read(data, quote_character=quote, layout_check="warning")
        return
    try:
        records = read(data, quote_character=quote, layout_check="warning")
    except FileError:
        # Blanks before quotes, and a quoted value that holds a row, are refused all the same.
        if quote and (b' "' in data or swallowed_rows(data, WIDTH)):
            return
        raise
    assert by_id(records) == by_id(events_of(rows or [], WATCHLIST))


@pytest.mark.parametrize("size", [3_000_000, 10_000_000])
@pytest.mark.parametrize("quoted", [False, True])
def test_a_field_of_many_megabytes_is_read_exactly(*, size: int, quoted: bool) -> None:
    long = ("é\n" if quoted else "é") * (size // 2)
    rows = [row(START, "A", "x"), row(START + 1, "A", long), row(START + 2, "A", "y")]
    cell = f'"{long}"' if quoted else long
    data = text([rows[0], row(START + 1, "A", cell), rows[2]])

    with checked(data, layout_check="warning") as export:
        assert by_id(list(export.records())) == by_id(events_of(rows, WATCHLIST))
        assert [r["user_id"] for r in records_in_lines(export)] == ["x", long, "y"]


def test_quoted_line_breaks_across_all_buffers_are_read_exactly() -> None:
    generator = random.Random(7)  # noqa: S311 - a test's choice
    values = ["a\nb", "c\r\nd", 'e"f', "g|h", "i"]
    rows = [row(START + n, "A", *generator.choices(values, k=7)) for n in range(60_000)]
    quoted = (['"' + v.replace('"', '""') + '"' for v in values] for values in rows)

    with checked(text(list(quoted)), layout_check="warning") as export:
        assert list(export.records()) == events_of(rows, WATCHLIST)

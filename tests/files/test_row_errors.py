"""What an error about a row of an export file advises."""

from __future__ import annotations

import pytest

from tap_barchart_events.exceptions import FileError
from tap_barchart_events.files.export_file import FileFormat
from tests.export_files import START, WATCHLIST, File

HEADER = "|".join(WATCHLIST)


def row(number: int, *, fields: int = 9, last: str = "x") -> str:
    return "|".join([str(START + number), "T", *[""] * (fields - 3), last])


def refusal(*lines: str, file_format: FileFormat | None = None) -> str:
    data = "".join(line + "\n" for line in lines).encode()
    with File(data, file_format=file_format) as export, pytest.raises(FileError) as error:
        export.check()
    return str(error.value)


def test_more_fields_in_the_first_row_alone_do_not_lead_to_columns() -> None:
    error = refusal(row(0, fields=10), *[row(n) for n in range(1, 50)])
    assert "line 1 has 10 fields where 9 are expected: values hold the delimiter |" in error
    assert "set delimiter" in error
    assert "columns" not in error


def test_the_advice_counts_the_commonest_number_of_fields_not_that_of_the_first_row() -> None:
    rows = [row(n, fields=11) for n in range(1, 50)]
    assert "line 1 has 10 fields where 11 are expected" in refusal(row(0, fields=10), *rows)
    assert "the file has 11 columns and no header" in refusal(*rows)
    error = refusal(row(0), *rows)  # the first row fits the layout, the others do not
    assert "line 2 has 11 fields where 9 are expected: most rows have 11; name all 11" in error
    assert "in the setting columns" in error


def test_rows_that_end_in_the_delimiter_have_an_empty_field_at_the_end() -> None:
    rows = [row(n, fields=10, last="") for n in range(5)]
    error = refusal(*rows)
    assert "the file has 10 columns and no header" in error
    assert error.endswith("so they have an empty field at the end")
    assert "in the setting columns" in error
    named = FileFormat(columns={"WATCHLIST": [*WATCHLIST, "nothing"]}, layout_check="warning")
    with File("\n".join(rows).encode(), file_format=named) as export:
        assert export.check().events == 5
        assert export.check().extra_columns == ()
    assert "an empty field at the end; name the header's columns and one" in refusal(HEADER, *rows)


def test_a_backslash_before_a_quote_is_named() -> None:
    for value in (r'"say \"hi\" now"', r'"say \"hi"', r'"say \""', r'"a\"|b"'):
        error = refusal(row(0), row(1, last=value), row(2))
        assert "line 2 " in error, value
        assert r"it has \" in a value" in error, value
        assert 'doubled ("")' in error
        assert "set quote_character to empty" in error


def test_a_backslash_at_the_end_of_a_quoted_value_is_data() -> None:
    data = (row(0, last=r'"C:\"') + "\n" + row(1, last=r'"\\"')).encode()
    with File(data, file_format=FileFormat(layout_check="warning")) as export:
        assert [r["class_filter"] for r in export.records()] == ["C:\\", "\\\\"]

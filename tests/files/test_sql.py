"""Quoting for SQL, and texts put together of parts."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.files.queries import Part, concat, identifier, literal

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@given(text=texts, name=texts.filter(bool))
def test_a_literal_is_the_very_text_and_an_identifier_the_very_name(
    connection: duckdb.DuckDBPyConnection, text: str, name: str
) -> None:
    result = connection.execute(f"SELECT {literal(text)} AS {identifier(name)}")
    assert [column[0] for column in result.description or ()] == [name]
    assert result.fetchone() == (text,)


def test_parts_are_put_together_and_nulls_are_empty(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    parts = [Part("it's "), Part("a"), Part("1 + 1", literal=False), Part("NULL", literal=False)]
    assert connection.execute(f"SELECT {concat(parts)}").fetchone() == ("it's a2",)
    assert connection.execute(f"SELECT {concat([])}").fetchone() == ("",)

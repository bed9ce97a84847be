"""Quoting for SQL."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_barchart_events.files.queries import identifier, literal

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

"""The SQL that turns the rows of an export file into events. Text only: nothing is run here.

All output modes use one relation of events. They differ only in how an event is written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from tap_barchart_events.windows import to_iso

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from tap_barchart_events.files.rows import ByteStats, FileFormat
    from tap_barchart_events.windows import Window

# Columns of files are in snake_case, so a name with a space is free for the query's own.
ROW, ORDINAL, KEY = '"row number"', '"its ordinal"', '"its key"'
EVENT_ID, FIRST_ID, OTHERS = '"event id"', '"first id"', '"other values"'
ORDINALS = '"all ordinals"'

TIE_LOOKBACK = 3
"""Rows before an event among which its duplicates usually are, in a file in time order."""

INSTANT = "strftime(epoch_ms(timestamp), '%Y-%m-%dT%H:%M:%S.%g+00:00')"


class DuplicateStrategy(IntEnum):
    """How the ordinals of events that are equal in the identity columns are found.

    The order of the timestamps decides; the highest value of any row applies to the file.
    """

    NONE = 0
    """Each timestamp is later than the one before it: no events are equal, all ordinals are 0."""

    LOOKBACK = 1
    """Some timestamps are equal, at most ``TIE_LOOKBACK`` rows apart: each row is compared with
    that many."""

    TABLE = 2
    """Some are equal further apart, or earlier than the one before: a table has all ordinals, in
    row order, and is read side by side with the file."""


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Part(NamedTuple):
    """A part of a text that a query joins."""

    text: str

    literal: bool = True
    """Whether the text is the part itself, or an SQL expression."""


def concat(parts: Iterable[Part]) -> str:
    """Return the expression that joins the parts of a text; a null part is an empty text."""
    arguments: list[str] = []
    for is_literal, run in groupby(parts, key=lambda part: part.literal):
        texts = [part.text for part in run]
        arguments += [literal("".join(texts))] if is_literal else texts
    return f"concat({', '.join(arguments or [literal('')])})"


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of a file as DuckDB reads them; every option that it would guess is set."""

    path: Path
    names: Sequence[str]
    file_format: FileFormat
    stats: ByteStats

    skip: int
    """Lines before the first event."""

    def relation(self, timestamp: str) -> str:
        """Return the relation of its rows, the timestamp in the type given, the others as text."""
        types = dict.fromkeys(self.names, "VARCHAR") | {"timestamp": timestamp}
        columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
        quote = self.file_format.quote_character if self.stats.quoted else ""
        buffer_size = max(1 << 21, self.stats.longest_row + (1 << 16))
        options = {
            "columns": f"{{{columns}}}",
            "delim": literal(self.file_format.delimiter),
            "quote": literal(quote),
            "escape": literal(quote),
            "auto_detect": "false",
            "header": "false",
            "skip": str(self.skip),
            "parallel": "false",
            "max_line_size": str(buffer_size),
            "buffer_size": str(buffer_size),
            # Strict mode refuses, or silently drops, rows with a line break unlike the first.
            # What the other mode accepts without an error is found by Rows and FileContents.
            "strict_mode": "false",
        }
        settings = ", ".join(f"{name}={value}" for name, value in options.items())
        return f"read_csv({literal(str(self.path))}, {settings})"


@dataclass(frozen=True, slots=True)
class EventsQuery:
    """The events of a file, in its order, each with its ``event_id``.

    The results of the check shorten the query: a column without any value is left out, and a
    column that always has one is not tested.
    """

    source: Source
    window: Window
    customer: str
    product: str

    filled: Mapping[str, bool]
    """The columns that have a value in some row, by name, sorted; and whether in every row."""

    extra: Sequence[str]
    """Those of them that go to ``extra``."""

    identity: Container[str] | None
    """The columns that ``event_id`` covers; None: all."""

    duplicates: DuplicateStrategy = DuplicateStrategy.NONE
    """How the ordinals of equal events are found."""

    row_bytes: int = 0
    """About how many bytes a row has."""

    def relation(self) -> str:
        """Return the relation: the file's columns, and the event's id."""
        rows, ordinal = self._inside(), "0"
        match self.duplicates:
            case DuplicateStrategy.LOOKBACK:
                return self._with_lookback(rows)
            case DuplicateStrategy.TABLE:
                ordinal = ORDINAL
                rows += f" POSITIONAL JOIN (SELECT * FROM {ORDINALS})"
        return f"(SELECT *, md5({self._canonical(ordinal)}) AS {EVENT_ID} FROM {rows})"

    def _with_lookback(self, rows: str) -> str:
        """Number equal events by their other values, then by file order."""
        first = f"*, md5({self._canonical('0')}) AS {FIRST_ID}"
        conditions = [f"{FIRST_ID} = lag({FIRST_ID}, %d) OVER ()"]
        if values := ", ".join(f"coalesce({identifier(name)}, '')" for name in self._others):
            first += f", row({values}) AS {OTHERS}"
            conditions[0] += f" AND lag({OTHERS}, %d) OVER () <= {OTHERS}"
            conditions.append(conditions[0].replace("lag(", "lead(").replace("<=", "<"))
        before = " + ".join(
            f"coalesce(({condition.replace('%d', str(n))})::INTEGER, 0)"
            for condition in conditions
            for n in range(1, TIE_LOOKBACK + 1)
        )
        event_id = (
            f"CASE WHEN {ORDINAL} = 0 THEN {FIRST_ID} ELSE md5({self._canonical(ORDINAL)}) END"
        )
        counted = f"(SELECT *, {before} AS {ORDINAL} FROM (SELECT {first} FROM {rows}))"
        return f"(SELECT *, {event_id} AS {EVENT_ID} FROM {counted})"

    @property
    def preparation(self) -> str:
        """The statement before the query: it makes the table of all ordinals, if one is needed."""
        if self.duplicates is not DuplicateStrategy.TABLE:
            return ""
        others = [identifier(name) for name in self._others]
        columns = ", ".join([ROW, f"md5_number({self._canonical('0')}) AS {KEY}", *others])
        rows = f"(SELECT *, row_number() OVER () AS {ROW} FROM {self._inside()})"
        order = ", ".join(f"{name} NULLS FIRST" for name in others)
        equal = f"PARTITION BY {KEY} ORDER BY {order}, {ROW}" if order else f"PARTITION BY {KEY}"
        return (
            f"CREATE TEMP TABLE IF NOT EXISTS {ORDINALS} AS "
            f"SELECT (row_number() OVER ({equal}) - 1)::INTEGER AS {ORDINAL} "
            f"FROM (SELECT {columns} FROM {rows}) ORDER BY {ROW}"
        )

    @property
    def _others(self) -> list[str]:
        """The columns with values that ``event_id`` does not cover, by name."""
        return [name for name in self.filled if name != "type" and not self._is_identity(name)]

    def _is_identity(self, name: str) -> bool:
        return self.identity is None or name in self.identity

    def _inside(self) -> str:
        rows = self.source.relation("BIGINT")
        start, end = self.window.start, self.window.end
        return f"(SELECT * FROM {rows} WHERE timestamp >= {start} AND timestamp < {end})"

    def _canonical(self, ordinal: str) -> str:
        """Return the text whose hash is an event's id."""
        head = "".join(text.replace("\n", "\n\n") + "\n" for text in (self.customer, self.product))
        parts = [Part(head), Part("timestamp", literal=False), Part("\n")]
        parts += [Part(self._line("type"), literal=False), Part("\n")]
        for name, always in self.filled.items():
            if name == "type" or not self._is_identity(name):
                continue
            line = [Part(f"{name}="), Part(self._line(name), literal=False), Part("\n")]
            if always:
                parts += line
            else:
                test = f"CASE WHEN {identifier(name)} IS NOT NULL THEN {concat(line)} END"
                parts.append(Part(test, literal=False))
        return concat([*parts, Part(ordinal, literal=ordinal == "0")])

    def _line(self, name: str) -> str:
        column = identifier(name)
        if not self.source.stats.quoted:
            return column
        return f"replace({column}, chr(10), chr(10) || chr(10))"

    @property
    def _constants(self) -> dict[str, str]:
        return {
            "customer": self.customer,
            "product": self.product,
            "end": to_iso(self.window.end),
        }

    def _value(self, name: str) -> str:
        """Return the expression of a property's value: a text, or a structure."""
        if name in self._constants:
            return literal(self._constants[name])
        if name == "extra":
            return self._extra()
        if name == "event_id":
            return EVENT_ID
        if name == "timestamp":
            return INSTANT
        return "NULL::VARCHAR" if self._is_null(name) else identifier(name)

    def _is_null(self, name: str) -> bool:
        """Whether a property that comes from the file is null in all events."""
        return not self.extra if name == "extra" else name not in self.filled

    def _extra(self) -> str:
        """Return the structure of the columns that go to ``extra``; null without values."""
        if not self.extra:
            return "NULL::VARCHAR"
        members = ", ".join(f"{literal(name)}: {identifier(name)}" for name in self.extra)
        some = " OR ".join(f"{identifier(name)} IS NOT NULL" for name in self.extra)
        return f"CASE WHEN {some} THEN {{{members}}} END"

    def as_columns(self, properties: Sequence[str]) -> str:
        """Return the query of the events, a column for each property; ``extra`` is a structure."""
        named = ", ".join(f"{self._value(name)} AS {identifier(name)}" for name in properties)
        return f"SELECT {named} FROM {self.relation()}"

    def as_json(self, properties: Sequence[str]) -> tuple[str, str, str]:
        """Return the query of the events as records in JSON, UTF-8 bytes, one column.

        The text that all records begin and end with is returned separately. The caller puts it
        around each result.

        Returns:
            The beginning, the query, the end.
        """
        parts: list[Part] = [Part("{")]
        for position, name in enumerate(properties):
            parts.append(Part("," * bool(position) + json.dumps(name) + ":"))
            parts += self._json(name)
        parts.append(Part("}"))
        begin = end = ""
        while parts and parts[0].literal:
            begin += parts.pop(0).text
        while parts and parts[-1].literal:
            end = parts.pop().text + end
        return begin, f"SELECT encode({concat(parts)}) FROM {self.relation()}", end

    def _json(self, name: str) -> list[Part]:
        """Return the JSON of one property."""
        if name in self._constants:
            return [Part(json.dumps(self._constants[name], ensure_ascii=False))]
        value = self._value(name)
        if name in {"event_id", "timestamp"}:
            return [Part('"'), Part(value, literal=False), Part('"')]
        if self._is_null(name):
            return [Part("null")]
        if name == "extra":
            # a patch leaves out what is null
            patch = f"json_merge_patch('{{}}', to_json({value}))"
            return [Part(f"coalesce({patch}::VARCHAR, 'null')", literal=False)]
        text = f"to_json({value})"
        if not self.filled[name]:
            text = f"CASE WHEN {value} IS NULL THEN 'null' ELSE {text}::VARCHAR END"
        return [Part(text, literal=False)]

"""The SQL that turns the rows of an export file into events. Text only: nothing is run here.

All output modes use one relation of events. They differ only in how an event is written.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tap_barchart_events.files.check import DAY, YEAR_2000, DuplicateStrategy, FileContents
from tap_barchart_events.files.rows import ByteStats, FileOptions
from tap_barchart_events.products import IDENTITY_COLUMNS
from tap_barchart_events.windows import HOUR, Window, to_iso

# Columns of files are in snake_case, so a name with a space is free for the query's own.
ROW, ORDINAL, KEY = '"row number"', '"its ordinal"', '"its key"'
EVENT_ID, FIRST_ID, OTHERS = '"event id"', '"first id"', '"other values"'
ORDINALS = '"all ordinals"'
MILLISECONDS = '"as milliseconds"'

TIE_LOOKBACK = 3
"""Rows before an event among which its duplicates usually are, in a file in time order."""

INSTANT = "strftime(epoch_ms(timestamp), '%Y-%m-%dT%H:%M:%S.%g+00:00')"


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


@dataclass(slots=True, eq=False)
class Source:
    """The rows of a file as DuckDB reads them; every option that it would guess is set."""

    path: Path
    names: Sequence[str]
    options: FileOptions
    stats: ByteStats

    skip: int = 0
    """Lines before the first event."""

    def relation(self, timestamp: str) -> str:
        """Return the relation of its rows, the timestamp in the type given, the others as text."""
        types = dict.fromkeys(self.names, "VARCHAR") | {"timestamp": timestamp}
        columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
        quote = literal(self.options.quote_character if self.stats.quoted else "")
        size = max(1 << 21, self.stats.longest_row + (1 << 16))
        # Strict mode refuses, or silently drops, rows with a line break unlike the first.
        # What the other mode accepts without an error is found by Rows and FileContents.
        return (
            f"read_csv({literal(str(self.path))}, strict_mode=false, columns={{{columns}}}, "
            f"delim={literal(self.options.delimiter)}, quote={quote}, escape={quote}, "
            f"auto_detect=false, header=false, skip={self.skip}, parallel=false, "
            f"max_line_size={size}, buffer_size={size})"
        )


@dataclass(slots=True, eq=False)
class EventsQuery:
    """The events of a file, in its order, each with its ``event_id``.

    The results of the check shorten the query: a column without any value is left out, and a
    column that always has one is not tested.
    """

    source: Source
    product: str
    window: Window
    contents: FileContents

    _identity: list[str] = field(init=False)
    """The columns with values that ``event_id`` covers, by name; ``type`` is not among them."""

    _others: list[str] = field(init=False)
    """The other columns with values, by name."""

    def __post_init__(self) -> None:
        """Divide the columns with values."""
        columns = [name for name in sorted(+self.contents.filled) if name != "type"]
        covered = IDENTITY_COLUMNS.get(self.product, columns)
        self._identity = [name for name in columns if name in covered]
        self._others = [name for name in columns if name not in covered]

    def _relation(self) -> str:
        """Return the relation: the file's columns, and the event's id."""
        rows, ordinal = self._inside(), "0"
        match self.contents.duplicates:
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
        """The statement before the query: it creates the table of ordinals, if one is needed."""
        if self.contents.duplicates != DuplicateStrategy.TABLE:
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

    def _inside(self) -> str:
        rows = self.source.relation("BIGINT")
        start, end = self.window.start, self.window.end
        return f"(SELECT * FROM {rows} WHERE timestamp >= {start} AND timestamp < {end})"

    def _canonical(self, ordinal: str) -> str:
        """Return the text whose hash is an event's id."""
        codes = self.source.options.customer, self.product
        head = "".join(code.replace("\n", "\n\n") + "\n" for code in codes)
        parts = [Part(head), Part("timestamp", literal=False), Part("\n")]
        parts += [Part(self._line("type"), literal=False), Part("\n")]
        for name in self._identity:
            line = [Part(f"{name}="), Part(self._line(name), literal=False), Part("\n")]
            if self._is_in_every_row(name):
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

    def _is_in_every_row(self, name: str) -> bool:
        return self.contents.filled[name] == self.contents.rows

    @property
    def _constants(self) -> dict[str, str]:
        return {
            "customer": self.source.options.customer,
            "product": self.product,
            "end": to_iso(self.window.end),
        }

    @property
    def _values(self) -> dict[str, str]:
        """Property → the expression of its value; without those that are null in all events."""
        extra = self.contents.extra_columns
        members = ", ".join(f"{literal(name)}: {identifier(name)}" for name in extra)
        some = " OR ".join(f"{identifier(name)} IS NOT NULL" for name in extra)
        return (
            {name: identifier(name) for name in +self.contents.filled}
            | {name: literal(text) for name, text in self._constants.items()}
            | {"event_id": EVENT_ID, "timestamp": INSTANT}
            | ({"extra": f"CASE WHEN {some} THEN {{{members}}} END"} if extra else {})
        )

    def as_columns(self) -> str:
        """Return the query of the events, a column for each property; ``extra`` is a structure."""
        values, names = self._values, self.source.options.properties
        named = (f"{values.get(name, 'NULL::VARCHAR')} AS {identifier(name)}" for name in names)
        return f"SELECT {', '.join(named)} FROM {self._relation()}"

    def as_json(self, before: str, after: str) -> tuple[str, str, str]:
        """Return the query of the events as records in JSON, UTF-8 bytes, one column.

        The text that all records begin and end with is returned separately. The caller puts it
        around each result.

        Args:
            before: What precedes each record.
            after: What follows each record.

        Returns:
            The beginning, the query, the end.
        """
        values = self._values
        parts = [Part(before + "{")]
        for position, name in enumerate(self.source.options.properties):
            parts.append(Part("," * bool(position) + json.dumps(name) + ":"))
            parts += self._json(name, values.get(name))
        parts.append(Part("}" + after))
        begin = end = ""
        while parts and parts[0].literal:
            begin += parts.pop(0).text
        while parts and parts[-1].literal:
            end = parts.pop().text + end
        return begin, f"SELECT encode({concat(parts)}) FROM {self._relation()}", end

    def _json(self, name: str, value: str | None) -> list[Part]:
        """Return the JSON of one property."""
        if name in self._constants:
            return [Part(json.dumps(self._constants[name], ensure_ascii=False))]
        if value is None:
            return [Part("null")]
        if name in {"event_id", "timestamp"}:
            return [Part('"'), Part(value, literal=False), Part('"')]
        text = f"to_json({value})"
        if name == "extra":
            # a patch leaves out what is null
            text = f"coalesce(json_merge_patch('{{}}', {text})::VARCHAR, 'null')"
        elif not self._is_in_every_row(name):
            text = f"CASE WHEN {value} IS NULL THEN 'null' ELSE {text}::VARCHAR END"
        return [Part(text, literal=False)]


def sums_query(
    source: Source, window: Window, possible: Window, bookmark: int, event_types: Iterable[str]
) -> str:
    """Return the query whose result ``FileContents.read`` takes.

    Its result has a row for each of the event types given, and one, of the type NULL, for all
    others together: a file may hold more event types than fit in memory.
    """
    known = ", ".join(map(literal, ["", *event_types]))
    columns = [identifier(name) for name in source.names]
    values = [identifier(name) for name in source.names if name != "timestamp"]
    content = " + ".join(f"coalesce(sum(strlen({column})), 0)" for column in columns)
    t = MILLISECONDS
    inside = f"{t} >= {window.start} AND {t} < {window.end}"
    outside = f"({t} < {window.start} OR {t} > {window.end})"
    impossible = f"{outside} AND ({t} < {possible.start} OR {t} > {possible.end})"
    absurd = f"{outside} AND ({t} < {YEAR_2000} OR {t} > {possible.end + DAY})"
    return f"""
        SELECT
            CASE WHEN type IN ({known}) THEN type END,
            count(*),
            count(*) FILTER ({inside}),
            count(*) FILTER ({inside} AND {t} < {bookmark}),
            histogram({t} // {HOUR}) FILTER ({inside}),
            {_dropped(outside)},
            {_dropped(impossible)},
            count(*) FILTER ({absurd}),
            count(*) FILTER ({t} IS NULL OR {t}::VARCHAR <> timestamp),
            max(CASE
                WHEN {t} > "1 back" OR "1 back" IS NULL THEN {DuplicateStrategy.NONE}
                WHEN {t} < "1 back" OR {t} = "lookback row" THEN {DuplicateStrategy.TABLE}
                ELSE {DuplicateStrategy.LOOKBACK}
            END),
            {content} + {len(values)} * count(*),
            {", ".join(f"count({column})" for column in values)}
        FROM (
            SELECT *,
                lag({t}) OVER () AS "1 back",
                lag({t}, {TIE_LOOKBACK + 1}) OVER () AS "lookback row"
            FROM (
                SELECT *, try_cast(timestamp AS BIGINT) AS {t}
                FROM {source.relation("VARCHAR")}
            )
        )
        GROUP BY 1"""


def _dropped(condition: str) -> str:
    """Return the aggregate that lists the fields of ``Dropped``."""
    t = MILLISECONDS
    aggregates = "count(*)", f"min({t})", f"max({t})"
    return "[" + ", ".join(f"{part} FILTER ({condition})" for part in aggregates) + "]"

"""Rows inside quoted values, which are rows of their own in a file that does not quote.

It does not depend on DuckDB or Singer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tap_barchart_events.products import LEADING, PRODUCTS, snake_case

if TYPE_CHECKING:
    from collections.abc import Sequence


class InnerRows:
    """Finds rows inside quoted values: lines that look like rows of the file.

    In a file that does not quote, a lone quote at the start of a value and another one at the end
    of a later value in the same column make one value of all rows between them.
    """

    def __init__(
        self, delimiter: str, quote_character: str, *, product: str, named: Sequence[str]
    ) -> None:
        """Take what is known of the rows.

        Args:
            delimiter: What separates the fields of the file.
            quote_character: What its fields are quoted by, or empty.
            product: The product code.
            named: The columns by the header or by the setting; otherwise empty.
        """
        # Without names, the fewest: the first row, which chooses the layout, may itself hold rows.
        known: Sequence[Sequence[str]] = (
            PRODUCTS[product].layouts if product in PRODUCTS else [LEADING]
        )
        fewest = min(known, key=len)
        columns = [*map(snake_case, named or fewest)]
        self._timestamp = columns.index("timestamp")
        self._delimiter = delimiter.encode()
        self._quote = quote_character.encode()
        escaped = re.escape(self._delimiter)
        self._delimiters = len(columns) - 1
        self._line = re.compile(
            b"\n((?:[^%b\n]*%b){%d}[^\n]*)" % (escaped, escaped, self._delimiters)
        )

    def find(self, body: bytes) -> int:
        """Return where the first of them begins in the body of a row; -1 if there is none.

        Each line of a body but its first begins inside a quoted value.
        """
        first_break = body.find(b"\n")
        if first_break < 0 or body.count(self._delimiter, first_break) < self._delimiters:
            return -1  # no line has enough delimiters: counting is faster than matching
        for line in self._line.finditer(body):
            fields = line[1].split(self._delimiter)
            # delimiters in the values before it can only move a timestamp back
            places = fields[self._timestamp :] if self._timestamp else fields[:1]
            if any(map(self._is_whole_number, places)):
                return line.start(1)
        return -1

    def _is_whole_number(self, field: bytes) -> bool:
        return field.strip().strip(self._quote or None).removeprefix(b"-").isdigit()

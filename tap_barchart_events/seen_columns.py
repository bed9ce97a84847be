"""Which columns the files of a product had until now, for warnings of what has changed.

STATE keeps it. What is missing or damaged there costs one more warning, or one less.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from hashlib import md5
from typing import TYPE_CHECKING, Any

from tap_barchart_events.products import IDENTITY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NAMES = 20
"""The most names of columns that STATE keeps of those that went to ``extra``."""

MAX_LENGTH = 32
"""The most characters of such a name; of a longer one, STATE keeps a hash."""


@dataclass(frozen=True, slots=True)
class SeenColumns:
    """What is known of the columns of a product's files."""

    known: int = 0
    """The known columns that the last file had, a bit for each in their frozen order."""

    extra: tuple[str, ...] = ()
    """Columns that went to ``extra``, the first at the beginning."""

    @classmethod
    def from_json(cls, value: object) -> SeenColumns:
        """Read what STATE has."""
        entries = value if isinstance(value, dict) else {}
        try:
            known = max(int(str(entries.get("known"))[:MAX_LENGTH], 16), 0)
        except ValueError:
            known = 0
        extra = entries.get("extra")
        names = [n for n in extra if isinstance(n, str)] if isinstance(extra, list) else []
        return cls(known, tuple(name[:MAX_LENGTH] for name in names[:MAX_NAMES]))

    def to_json(self) -> dict[str, Any]:
        """Return what STATE keeps; empty if nothing is known."""
        known = {"known": f"{self.known:x}"} if self.known else {}
        return known | ({"extra": [*self.extra]} if self.extra else {})

    def missing(self, product: str, header: Sequence[str]) -> list[str]:
        """Return the known columns that the last file had and a header lacks.

        Each comes with the nearest name among those of the header that are not known.
        """
        names = IDENTITY_COLUMNS.get(product, ())
        lacking = [n for bit, n in enumerate(names) if self.known >> bit & 1 and n not in header]
        others = [name for name in header if name not in names]
        nearest = {name: difflib.get_close_matches(name, others, 1) for name in lacking}
        return [
            f"{n} (the nearest name is {near[0]})" if near else n for n, near in nearest.items()
        ]

    def new(self, extra: Sequence[str]) -> list[str]:
        """Return those of the columns that never went to ``extra`` before."""
        return [name for name in extra if _kept(name) not in self.extra]

    def after(self, product: str, names: Sequence[str], extra: Sequence[str]) -> SeenColumns:
        """Return what is known after a file with these columns, of which some went to ``extra``."""
        known = sum(
            1 << bit for bit, name in enumerate(IDENTITY_COLUMNS.get(product, ())) if name in names
        )
        return SeenColumns(known, (*self.extra, *map(_kept, self.new(extra)))[:MAX_NAMES])


def _kept(name: str) -> str:
    """Return a name as STATE keeps it."""
    if len(name) <= MAX_LENGTH:
        return name
    return md5(name.encode(), usedforsecurity=False).hexdigest()

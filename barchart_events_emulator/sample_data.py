"""Sample data: the values in the columns of each product.

A *pool* is a fixed list of event bodies (type and context values) for a seed; the generator
chooses from it. Does not depend on time, files or HTTP.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import shake_128
from typing import NamedTuple

from tap_barchart_events.products import PRODUCTS, Product

POOL_BITS = 13
POOL_SIZE = 1 << POOL_BITS
"""Number of different event bodies of a customer and product."""

_USERS = 701
_BYTES = 64
"""Pseudo-random bytes for each event body."""

_SYMBOLS = (
    "AAPL",
    "ZCZ26",
    "ZSX26",
    "CLF27",
    "BRK.A",
    "RY.TO",
    "SHOP.TO",
    "6EZ26",
    "GCG27",
    "$SPX",
    "BTC-USD",
    "KCH27",
)
_TEXTS = (
    "main",
    "My Watchlist",
    "Größte Gewinner",
    "Été à Montréal",
    "自选股",
    "Ñandú  two  spaces",
    " padded ",
    "null",
    "NULL",
    "N/A",
    "0",
    "007",
    "1e3",
    "📈 momentum",
    "Καλημέρα",
    "#comment",
    "back\\slash",
    "O'Neil",
    "true",
    "e\u0301 combined",
)
_AWKWARD = (
    "a|b",
    'He said "buy"',
    "line one\nline two",
    '"',
    '""',
    "|",
    "one\r\ntwo\r\n",
    '"quoted | whole"',
    "semi;colon,comma\ttab",
)
_FLAGS = ("true", "false")
_UNKNOWN_PRODUCT = ("userId", "item", "value")


@lru_cache(maxsize=64)
def product_of(code: str) -> Product:
    """Return the known product, or for an unknown code a product with three event types."""
    if known := PRODUCTS.get(code):
        return known
    types = {
        f"{code}-OPENED": _UNKNOWN_PRODUCT[:1],
        f"{code}-SELECTED": _UNKNOWN_PRODUCT,
        f"{code}-CLOSED": _UNKNOWN_PRODUCT[:1],
    }
    return Product(code, types)


def columns_of(code: str, layout: str, added_column: str | None = None) -> tuple[str, ...]:
    """Return the columns of a product's file in order, ``timestamp`` and ``type`` first.

    Args:
        code: The product's code.
        layout: ``current``, or ``documented`` for the oldest one known.
        added_column: A column that the vendor has added in the middle since then.
    """
    layouts = product_of(code).layouts
    columns = list(layouts[0] if layout == "documented" else layouts[-1])
    if added_column is not None and added_column not in columns:
        columns.insert(2 + (len(columns) - 2) // 2, added_column)
    return tuple(columns)


Pool = tuple[tuple[str, "Mapping[str, str]"], ...]
"""Event bodies: type, and the values of its context that are not empty, by column name."""


class PoolKey(NamedTuple):
    """What the event bodies of a pool depend on."""

    seed: int
    """The emulator's seed."""
    customer: str
    """The customer's code: another customer has other events."""
    product: str
    awkward: bool = False
    """Whether some values hold delimiters, quotes and line breaks."""
    added_column: str | None = None
    """A column that some event types have recently been given; the other values are the same
    with it and without it."""
    rate: float | None = None
    """Mean number of events an hour of a population; ``None`` for a pool."""


@lru_cache(maxsize=32)
def pool_of(key: PoolKey) -> Pool:
    """Return the event bodies of a customer and product."""
    stream = shake_128(f"pool {key.seed}/{key.customer}/{key.product}".encode())
    random = stream.digest(POOL_SIZE * _BYTES)
    return tuple(_body(key, random[at : at + _BYTES]) for at in range(0, len(random), _BYTES))


def _body(key: PoolKey, random: bytes) -> tuple[str, Mapping[str, str]]:
    number = random[0] | random[1] << 8
    # The product of two random numbers: some types, and some users, have far more events than
    # others. In a quarter of the bodies all types are equally likely, so that none is missing.
    share = random[2] + 1 if random[7] % 4 else 256
    contexts = tuple(product_of(key.product).event_types.items())
    kind, names = contexts[(number * share >> 8) * len(contexts) >> 16]
    values: dict[str, str] = {}
    for at, name in enumerate(names, start=8):
        one, two = random[at % _BYTES], random[at * 7 % _BYTES]
        if name == "userId":
            rank = (random[3] | random[4] << 8) * (random[5] + 1) >> 8
            values[name] = user_name(f"{key.seed}/{key.customer}", rank * _USERS >> 16)
        elif one % 16:
            values[name] = value_of(name, one << 8 | two)
            if key.awkward and two % 16 == 0:
                values[name] = _AWKWARD[one % len(_AWKWARD)]
    if key.added_column is not None and key.added_column not in names and random[6] % 2:
        values[key.added_column] = value_of(key.added_column, random[7])
    return kind, values


@lru_cache(maxsize=8192)
def user_name(users: str, number: int) -> str:
    """Return the id of a user: ``users`` names the seed and the customer."""
    name = shake_128(f"user {users}/{number}".encode()).hexdigest(8)
    return f"{name[:8]}-{name[8:12]}-{name[12:]}" if number % 50 else f"zoë müller {name[:4]}"


_SHAPES: tuple[tuple[str, Callable[[str, int], str]], ...] = (
    ("symbols", lambda _, n: " ".join(_pick(_SYMBOLS, n * step) for step in (1, 5, 7))),
    ("symbol", lambda _, n: _pick(_SYMBOLS, n)),
    (
        "value|collapsed|filterSelected|filterVisible|is[A-Z].*|show.*",
        lambda _, n: _pick(_FLAGS, n),
    ),
    (".*Count|.*Number|.*[dD]istance", lambda _, n: str(n % 200)),
    (".*[zZ]ipCode", lambda _, n: f"{n % 90000:05}"),
    (".*[dD]ate", lambda _, n: f"20{n % 7 + 20}-{n % 12 + 1:02}-{n % 28 + 1:02}"),
    (".*Id", lambda name, n: shake_128(f"{name} {n % 4096}".encode()).hexdigest(6)),
    (".*", lambda _, n: _pick(_TEXTS, n)),
)
"""Columns by name (a regular expression) and their values; the first match counts."""


@lru_cache(maxsize=65536)
def value_of(name: str, number: int) -> str:
    """Return a value for a column; never empty, the same for the same number.

    It has none of the characters ``| , ; tab " ^ ~`` and no line break, so that every usual
    delimiter can be used without quoting.
    """
    return next(shape(name, number) for names, shape in _SHAPES if re.fullmatch(names, name))


def _pick(choices: tuple[str, ...], number: int) -> str:
    return choices[number % len(choices)]

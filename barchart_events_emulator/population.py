"""A population: users with habits of their own, whose sessions are the events of a product.

A day (UTC) is generated at once; it depends on the key and on the day only. Numbers of event
bodies are those of ``Population``: user, event type and what the event is about. Does not depend
on files or HTTP.
"""

import re
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import shake_128
from itertools import accumulate
from math import log, pi, sin
from random import Random
from typing import NamedTuple

from barchart_events_emulator.sample_data import PoolKey, product_of, user_name, value_of
from tap_barchart_events.windows import HOUR

DAY = 24 * HOUR

_TYPE_BITS = 7
_TOPIC_BITS = 3
_USER_BITS = 32
POPULATION_BITS = _USER_BITS + _TYPE_BITS + _TOPIC_BITS
_TOPICS = 1 << _TOPIC_BITS
"""Number of symbols, views and so on that a user returns to."""

_WEEKS = 104
"""A user stays for at most this many weeks."""
_MEAN_WEEKS = 14.5
"""How long a user stays on average."""
_EVENTS_A_DAY = 2.5
"""Mean number of events of a user in a product, over all days of the stay."""

_SHARES = {"WATCHLIST": 0.75, "PORTFOLIO": 0.45, "ALERT": 0.22, "CMDTYVIEW": 0.2}
_OTHER_SHARE = 0.3
"""Share of a customer's users who use a product."""

_NEXT = {
    "WATCHLIST-APPLICATION-LOADED": "WATCHLIST-ACCESSED",
    "WATCHLIST-CREATED": "WATCHLIST-SYMBOL-ADDED",
    "WATCHLIST-SCREEN-INVOKED-EDIT": "WATCHLIST-SYMBOL-REMOVED",
    "PORTFOLIO-APPLICATION-LOADED": "PORTFOLIO-ACCESSED",
    "PORTFOLIO-CREATED": "PORTFOLIO-POSITION-CREATED",
    "PORTFOLIO-POSITION-CREATED": "PORTFOLIO-TRANSACTION-CREATED",
    "PORTFOLIO-SCREEN-INVOKED-EDIT-TRANSACTION": "PORTFOLIO-TRANSACTION-EDITED",
    "ALERT-CREATED": "ALERT-STARTED",
    "CMDTYVIEW-LOGIN": "CMDTYVIEW-WORKSPACE-ACTIVATED",
}
"""What usually comes next. Something shown or opened is followed by its use in any product."""
_NEXT_CHANCE = 0.8

_WEIGHTS = (
    ("LOADED|LOGIN|LOGOUT", 0.0),
    ("ACCESSED|WORKSPACE-ACTIVATED", 6.0),
    ("SYMBOL-ADDED|TRANSACTION-CREATED|ALERT-CREATED", 5.0),
    ("PRINTED|DELETED|DOWNLOADED|-ALL|CUSTOM|BRANCH|GRAIN-BID", 0.4),
    ("SHOWN|OPENED|SEARCH|SELECTED|VIEW-CHANGED|VIEWED|REMOVED", 3.0),
    ("", 1.2),
)
"""Event types by code (a regular expression), and how often they are; the first match counts."""


class _User(NamedTuple):
    """A user of a product."""

    number: int
    """Different for all users of a customer."""
    first: int
    """First day, in days since the epoch."""
    last: int
    """Last day."""
    chances: tuple[float, ...]
    """How likely a visit is on each weekday, from Monday on."""
    hour: float
    """Middle of the first session of a day, in hours."""


class Population:
    """The users of a customer's product and their events."""

    def __init__(self, key: PoolKey) -> None:
        """Prepare the population; users and days are generated on demand."""
        self._customer = f"{key.seed}/{key.customer}"
        self._product = key.product
        self._contexts = tuple(product_of(key.product).event_types.items())
        self._codes = [code for code, _ in self._contexts]
        self._next = [self._next_type(code) for code in self._codes]
        self._weights = [_weight(code) for code in self._codes]
        self._share = _SHARES.get(key.product, _OTHER_SHARE)
        largest = max(_SHARES.values())
        self._arrivals = (key.rate or 0.0) * 24 / _EVENTS_A_DAY / largest / _MEAN_WEEKS
        self._phase = shake_128(key.product.encode()).digest(1)[0] / 256
        self._symbols = _symbols(futures_first=key.product.startswith("CMDTY"))
        self._cohorts: dict[int, tuple[_User, ...]] = {}
        self._weights_of = lru_cache(maxsize=8192)(self._add_weights)
        self.day = lru_cache(maxsize=32)(self._day)
        """Return the events of a day (since the epoch) as keys, in order of time."""

    def __getitem__(self, number: int) -> tuple[str, Mapping[str, str]]:
        """Return an event body: type, and values by column name."""
        user = number >> _TYPE_BITS + _TOPIC_BITS
        topic = number & _TOPICS - 1
        code, names = self._contexts[number >> _TOPIC_BITS & (1 << _TYPE_BITS) - 1]
        return code, {name: self._value(name, user, topic) for name in names}

    def _value(self, name: str, user: int, topic: int) -> str:
        if name == "userId":
            return user_name(self._customer, user)
        if name.startswith("symbol") and not name.endswith("Count"):
            topics = range(topic, topic + (3 if name == "symbols" else 1))
            return " ".join(self._symbol(user, one % _TOPICS) for one in topics)
        chosen = f"{self._customer}/{user}/{name}/{topic // 3}".encode()
        return value_of(name, int.from_bytes(shake_128(chosen).digest(2), "big"))

    def _symbol(self, user: int, topic: int) -> str:
        """Return one of a user's symbols: few symbols are those of many, many those of few."""
        luck = shake_128(f"symbol {self._customer}/{user}/{topic}".encode()).digest(2)
        share = int.from_bytes(luck, "big") / 65536
        return self._symbols[int(share**2 * len(self._symbols))]

    def _day(self, day: int) -> list[int]:
        random = _random(f"{self._customer}/{self._product}/{day}").random
        weekday = (day + 3) % 7
        # All products have good and bad days together, and each has a trend of its own.
        busy = 0.85 + 0.3 * _random(f"{self._customer}/{day}").random()
        busy *= 1 + 0.25 * sin(2 * pi * (day / 728 + self._phase))
        keys: list[int] = []
        for user in self._present(day):
            if random() >= user.chances[weekday] * busy:
                continue
            for number in range(1 + (random() < 0.35)):
                middle = user.hour + 4 * number + 1.5 * (random() + random() - 1)
                keys += self._session(random, user, round(middle % 24 * HOUR))
        keys.sort()
        return keys

    def _session(self, random: Callable[[], float], user: _User, start: int) -> Iterator[int]:
        """Return the keys of a session of 5 to 20 events, all of them on its day."""
        number = 5 + int(16 * random() ** 2)
        waits = (round(1000 * min(600, 4 - 70 * log(1 - random()))) for _ in range(number))
        times = list(accumulate(waits))
        start = min(start, DAY - 1 - times[-1])
        weights = self._weights_of(user.number)
        kind, topic = 0, int(_TOPICS * random())
        for at, time in enumerate(times):
            following = self._next[kind]
            if at and following is not None and random() < _NEXT_CHANCE:
                kind = following
            elif at:
                kind = bisect(weights, random() * weights[-1], hi=len(weights) - 1)
                if random() < 0.5:
                    topic = int(_TOPICS * random() ** 2)
            body = (user.number << _TYPE_BITS | kind) << _TOPIC_BITS | topic
            yield start + time << POPULATION_BITS | body

    def _add_weights(self, user: int) -> tuple[float, ...]:
        """Return how often a user's event types are, added up in the order of the types.

        The rarer a type is, the fewer users have it at all.
        """
        luck = _random(f"types {self._customer}/{self._product}/{user}").random
        return tuple(accumulate(w if luck() < 0.2 + w / 4 else 0.0 for w in self._weights))

    def _present(self, day: int) -> Iterator[_User]:
        week = (day + 3) // 7
        for past in range(week - _WEEKS, week + 1):
            if past not in self._cohorts:
                self._cohorts[past] = tuple(self._cohort(past))
            for user in self._cohorts[past]:
                if user.first <= day <= user.last:
                    yield user

    def _cohort(self, week: int) -> Iterator[_User]:
        """Yield the users of the product who came to the customer in a week."""
        random = _random(f"users {self._customer}/{week}").random
        own = _random(f"users {self._customer}/{week}/{self._product}").random
        growth = 1 + 0.5 * sin(2 * pi * week / 104)
        for number in range(int(self._arrivals * growth + random())):
            first = 7 * week - 3 + int(7 * random())
            stays = 28 * random() if random() < 0.5 else -220 * log(1 - random())
            at_work, eager, hour = random() < 0.75, random() ** 3, random()
            working, weekend = 0.06 + 0.85 * eager, 0.1 * eager
            if not at_work:
                working, weekend = 0.05 + 0.4 * eager, 0.1 + 0.6 * eager
            chances = [working if random() < 0.8 else working / 4 for _ in range(5)]
            uses, delay = own() < self._share, max(0, int(100 * own()) - 50)
            if uses:
                yield _User(
                    (week & 0xFFFF) << 16 | number,
                    first + delay,
                    first + min(int(stays), 7 * _WEEKS),
                    (*chances, weekend, weekend),
                    13 + 5 * hour if at_work else 12 + 16 * hour,
                )

    def _next_type(self, code: str) -> int | None:
        """Return the number of the event type that usually follows one, if any does."""
        after = _NEXT.get(code)
        if after is None and re.search("(SHOWN|OPENED|SEARCH)$", code):
            after = code.removesuffix("OPENED") + "INSERTED"
            if after not in self._codes:
                after = "".join(self._codes[self._codes.index(code) + 1 :][:1])
        return self._codes.index(after) if after in self._codes else None


def _weight(code: str) -> float:
    return next(weight for part, weight in _WEIGHTS if re.search(part, code))


def _random(seed: str) -> Random:
    return Random(seed)  # noqa: S311 - sample data; ``random()`` is the same in every Python


@lru_cache(maxsize=2)
def _symbols(*, futures_first: bool) -> tuple[str, ...]:
    """Return symbols, the most popular ones first."""
    stocks = (
        "AAPL NVDA $SPX SHOP.TO RY.TO MSFT TSLA AMZN TD.TO SPY ENB.TO BTC-USD META GOOGL CNQ.TO "
        "BNS.TO QQQ AMD $DOWI BRK.A COST NFLX BMO.TO CP.TO SU.TO JPM XOM V BCE.TO T.TO INTC PLTR "
        "ABX.TO BA DIS KO MFC.TO TRP.TO WMT NTR.TO PFE F GM UBER IBM ORCL CSCO ADBE CVX MCD"
    )
    roots = "CL ZC GC ZS NG ZW SI KC ES 6E HG LE RB CT SB HE ZL NQ CC HO ZM 6J GF PL KE"
    contracts = ("H26", "K26", "N26", "Z26")
    futures = [f"{root}{contract}" for contract in contracts for root in roots.split()]
    return (*futures, *stocks.split()) if futures_first else (*stocks.split(), *futures)

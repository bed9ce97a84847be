"""Events generated on demand: the same seed and range give the same events.

Time is divided into slots of equal length. The events of a slot depend on the seed, the
customer, the product and the slot only, and so not on the query. Does not depend on jobs,
files or HTTP.

Inside, an event is an integer, its *key*: its offset in the slot in milliseconds, followed by
``body_bits`` bits with the number of its body, in a pool of bodies or in the population. Sorted
keys are sorted by time.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_128
from math import exp, sqrt
from statistics import NormalDist
from struct import unpack
from typing import NamedTuple

from barchart_events_emulator.options import Options
from barchart_events_emulator.population import DAY, POPULATION_BITS, Population
from barchart_events_emulator.sample_data import POOL_BITS, POOL_SIZE, Pool, PoolKey, pool_of
from tap_barchart_events.windows import HOUR

MASK = POOL_SIZE - 1

_SLOTS = (HOUR, 900_000, 300_000, 60_000, 10_000, 1_000)
_EVENTS_IN_SLOT = 2000
"""Mean number of events in a slot at most; a slot is generated at once."""

_EDGE_EVENTS = 3
"""At each full hour: an event at it, one a millisecond later, one a millisecond earlier."""

_ONE_IN = 128
"""One in this many events repeats another exactly, and one has the time of another."""

_NORMAL_FROM = 30.0
"""From this mean on, the number of events has a normal distribution."""


class Event(NamedTuple):
    """An event of the service."""

    timestamp: int
    """When it occurred, in milliseconds since the epoch."""

    type: str
    """Code of its type."""

    values: dict[str, str]
    """Values that are not empty, by column name in camelCase."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The events that a query selects."""

    customer: str
    product: str
    start: int
    """First instant, inclusive, in milliseconds."""
    end: int
    """Last instant, exclusive, in milliseconds."""
    types: frozenset[str] | None
    """Codes of the event types wanted; ``None`` for all."""
    late_until: int
    """Late events that occurred after this instant are not included (milliseconds)."""


class Generator:
    """Generates the events for given options."""

    def __init__(self, options: Options) -> None:
        """Take the options that determine events."""
        self._options = options
        self._late = round(options.late_share * 1024)
        slots = (ms for ms in _SLOTS if options.events_per_hour * ms <= _EVENTS_IN_SLOT * HOUR)
        by_users = options.population == "users"
        self.slot = DAY if by_users else next(slots, _SLOTS[-1])
        """Length of a slot in milliseconds; divides an hour, or is a day."""
        self.body_bits = POPULATION_BITS if by_users else POOL_BITS
        self.body_mask = (1 << self.body_bits) - 1

    def pool_key(self, selection: Selection) -> PoolKey:
        """Return the key of the pool with the event bodies of the selection."""
        where = selection.customer, selection.product
        options = self._options
        if options.population == "users":
            return PoolKey(options.seed, *where, rate=options.events_per_hour)
        return PoolKey(options.seed, *where, options.quoting != "none", options.added_column)

    def slots(self, selection: Selection) -> range:
        """Return the numbers of the slots that the selection touches."""
        if selection.end <= selection.start:
            return range(0)
        return range(selection.start // self.slot, (selection.end - 1) // self.slot + 1)

    def keys(self, selection: Selection, slot: int) -> list[int]:
        """Return the selected events of a slot, as keys, in order of time."""
        keys = self._all_keys(selection, slot)
        begin = slot * self.slot
        low, high = selection.start - begin, selection.end - begin
        if low > 0 or high < self.slot:
            bits = self.body_bits
            keys = keys[bisect_left(keys, low << bits) : bisect_left(keys, high << bits)]
        if selection.types is not None:
            bodies, mask = bodies_of(self.pool_key(selection)), self.body_mask
            keys = [key for key in keys if bodies[key & mask][0] in selection.types]
        until = selection.late_until - begin
        if self._late and until < self.slot:
            keys = [
                key
                for key in keys
                if key >> self.body_bits <= until
                or ((key * 0x9E3779B1 + slot * 0x85EBCA6B) >> 11) & 1023 >= self._late
            ]
        return keys

    def events(self, selection: Selection) -> Iterator[Event]:
        """Yield the selected events in order of time."""
        bodies, bits, mask = bodies_of(self.pool_key(selection)), self.body_bits, self.body_mask
        for slot in self.slots(selection):
            begin = slot * self.slot
            for key in self.keys(selection, slot):
                kind, values = bodies[key & mask]
                yield Event(begin + (key >> bits), kind, dict(values))

    def _weight(self, selection: Selection, hour: int) -> float:
        """Return how many times the mean number of events an hour (since the epoch) has."""
        options, name = self._options, f"{selection.customer}/{selection.product}"
        weight = 1.0 if options.rhythm == "none" else _weights(options.rhythm, name)[hour % 168]
        if options.hourly_noise:
            noise = shake_128(f"noise {options.seed}/{name}/{hour}".encode())
            (luck,) = unpack("<I", noise.digest(4))
            weight *= exp(options.hourly_noise * NormalDist().inv_cdf((luck + 0.5) / 2**32))
        return weight

    def _all_keys(self, selection: Selection, slot: int) -> list[int]:
        if self._options.population == "users":
            return population_of(self.pool_key(selection)).day(slot)
        seed, rate = self._options.seed, self._options.events_per_hour
        shake = shake_128(f"{seed}/{selection.customer}/{selection.product}/{slot}".encode())
        begin = slot * self.slot
        first, last = begin % HOUR == 0, (begin + self.slot) % HOUR == 0
        edges = rate >= 2 * _EDGE_EVENTS
        weight = self._weight(selection, begin // HOUR)
        mean = rate * self.slot / HOUR * weight - edges * (2 * first + last)
        luck, chance = unpack("<IB7x", shake.digest(12))
        number = _draw(mean, (luck + 0.5) / 2**32)
        data = shake.digest(12 + 6 * number)
        bodies = unpack(f"<{number}H", data[12 : 12 + 2 * number])
        offsets = unpack(f"<{number}I", data[12 + 2 * number :])
        span = self.slot
        keys = [
            (offset * span >> 32) << POOL_BITS | body & MASK
            for offset, body in zip(offsets, bodies, strict=True)
        ]
        if repeated := (number + chance % _ONE_IN) // _ONE_IN:
            keys[-repeated:] = keys[:repeated]
            tied = keys[repeated : 2 * repeated]
            keys[-2 * repeated : -repeated] = [key ^ 1 + chance for key in tied]
        if edges and first:
            keys += [chance * 31] * (1 + chance % 2) + [1 << POOL_BITS | chance * 29]
        if edges and last:
            keys += [span - 1 << POOL_BITS | chance * 23]
        keys.sort()
        return keys


population_of = lru_cache(maxsize=32)(Population)
"""Return the users of a customer and product."""


def bodies_of(key: PoolKey) -> Pool | Population:
    """Return the event bodies of a customer and product, by number."""
    return pool_of(key) if key.rate is None else population_of(key)


@lru_cache(maxsize=256)
def _weights(rhythm: str, name: str) -> tuple[float, ...]:
    """Return the weight of each hour of the week, from Thursday 00:00 UTC; the mean is 1.

    Busy in the afternoon (UTC), quiet at night and on week-ends.

    Args:
        rhythm: ``product`` for one that differs between products; ``working-week`` for one that
            all products share.
        name: Customer and product.
    """
    shift, width = shake_128(f"rhythm {name}".encode()).digest(2)
    weights = []
    for hour in range(168):
        if rhythm == "product":
            away = abs(hour % 24 - (14.5 + shift % 5))
            busy = 0.12 + exp(-((min(away, 24 - away) / (3.5 + width % 3)) ** 2))
        else:
            busy = 0.15 + 3 * exp(-(((hour % 24 - 15) / 3.5) ** 2))
        weights.append(busy * (0.25 if hour // 24 in {2, 3} else 1.0))
    total = sum(weights)
    return tuple(weight * 168 / total for weight in weights)


def _draw(mean: float, luck: float) -> int:
    """Return a number of events: Poisson by inversion, or its normal approximation."""
    if mean <= 0:
        return 0
    if mean >= _NORMAL_FROM:
        return max(0, round(mean + sqrt(mean) * NormalDist().inv_cdf(luck)))
    number, term = 0, exp(-mean)
    reached = term
    while luck > reached and number < 10 * _NORMAL_FROM:
        number += 1
        term *= mean / number
        reached += term
    return number

"""Events on which the models can go wrong, among those of the emulator: a source for it.

One user's sessions last over midnights and have pauses of just 30 minutes, some events come late
and join what were two sessions, some have no user, and texts are spelt in many ways.
"""

from collections.abc import Iterator

from barchart_events_emulator import Emulator, Event
from tap_barchart_events.products import PRODUCTS
from tap_barchart_events.windows import from_iso
from tests.pipelines.marts import FALSE, TRUE

# The month that is loaded last, and the one that is loaded first.
OLD = ("2026-01-31T00:00:00+00:00", "2026-02-03T00:00:00+00:00")
NEW = ("2026-02-26T00:00:00+00:00", "2026-03-03T12:00:00+00:00")
# What is read again, when late events are there.
REREAD = ("2026-02-27T00:00:00+00:00", "2026-03-01T00:00:00+00:00")

# What is deleted and read again at last: its first day has no events then, and its second one has
# as many as before, by other users.
DELETED = ("2026-02-26T00:00:00+00:00", "2026-02-28T00:00:00+00:00")

# The vendor has added two columns, which different events have.
COLUMNS = (*PRODUCTS["PORTFOLIO"].layouts[-1], "mood", "weather")

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
EVENING = from_iso("2026-02-27T22:30:00+00:00")
IN_TIME = (0, 20 * MINUTE, 75 * MINUTE, 125 * MINUTE, 155 * MINUTE + 1)
LATE = (50 * MINUTE, 100 * MINUTE)
# Every 25 minutes, for a day and a half.
LONG = tuple(range(13 * 60 * MINUTE, 49 * 60 * MINUTE, 25 * MINUTE))

# The steps of a funnel, and in which hour users take which of them. Three take two steps in three
# days, and two of these all, one at the second try.
STEPS = ("PORTFOLIO-CREATED", "PORTFOLIO-POSITION-CREATED", "PORTFOLIO-TRANSACTION-CREATED")
FIRST_STEPS = from_iso("2026-02-28T00:00:00+00:00")
TAKEN = {
    "in three days": ((0, 0), (1, 1), (2, 72)),
    "at the second try": ((0, 0), (0, 24), (1, 25), (2, 83)),
    "too late": ((0, 0), (1, 48), (2, 73)),
    "in another order": ((0, 2), (1, 1), (2, 3)),
    "at once": ((0, 0), (1, 0), (2, 0)),
}

FLAG_TEXTS = (*TRUE, *FALSE, "TRUE", "No", "maybe", " true")
COUNT_TEXTS = ("7", "007", "12.5", "-1", "9" * 18, "9" * 19, "٣")


class Usage:
    """The events of the service.

    `late` tells whether the late ones are there, and `changed` whether a range has others.
    """

    def __init__(self) -> None:
        """Begin without the late events."""
        self.late = False
        self.changed = False
        self._others = Emulator(events_per_hour=4, added_column="mood")

    def __call__(self, customer: str, product: str, start: int, end: int) -> Iterator[Event]:
        """Yield a product's events."""
        for event in self._events(customer, product, start, end):
            day = (event.timestamp - from_iso(DELETED[0])) // DAY
            user = event.values.get("userId")
            if self.changed and day == 1 and user:
                yield event._replace(values={**event.values, "userId": f"{user} too"})
            elif not self.changed or day != 0:
                yield event

    def _events(self, customer: str, product: str, start: int, end: int) -> Iterator[Event]:
        yield from self._others.events(customer, product, start, end)
        own = {"PORTFOLIO": self._sessions_and_flags, "BARCHART-EXCEL": self._counts}.get(product)
        if own:
            yield from (event for event in own() if start <= event.timestamp < end)

    def _sessions_and_flags(self) -> Iterator[Event]:
        for offset in (*IN_TIME, *LONG, *(LATE if self.late else ())):
            values = {"userId": "an owl", "weather": "clear"}
            yield Event(EVENING + offset, "PORTFOLIO-ACCESSED", values)
        for text in FLAG_TEXTS:
            values = {"userId": "a speller", "showClosedPositions": text}
            yield Event(EVENING, "PORTFOLIO-CLOSED-POSITIONS-CHANGED", values)

        for user, taken in TAKEN.items():
            for step, hours in taken:
                yield Event(FIRST_STEPS + hours * 60 * MINUTE, STEPS[step], {"userId": user})

    def _counts(self) -> Iterator[Event]:
        for text in COUNT_TEXTS:
            yield Event(EVENING, "BARCHART-EXCEL-QUOTES-INSERTED", {"symbolsCount": text})

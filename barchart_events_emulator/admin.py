"""The emulator's own calls under ``/emulator/``: no part of the real service.

For scripts that run the command: they move the clock, arm faults, and ask for the truth.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from barchart_events_emulator.faulty_transport import StreamedResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from barchart_events_emulator.generator import Event
    from barchart_events_emulator.service import Emulator

_LINES = 500
"""Events in one piece of an answer."""


def admin_routes(emulator: Emulator) -> list[Route]:
    """Return the routes of the emulator's own calls."""
    calls = _Calls(emulator)
    return [
        Route("/emulator/clock", calls.clock, methods=["GET"]),
        Route("/emulator/clock", calls.advance, methods=["POST"]),
        Route("/emulator/events", calls.events, methods=["GET"]),
        Route("/emulator/late", calls.late, methods=["POST"]),
        Route("/emulator/forget", calls.forget, methods=["POST"]),
        Route("/emulator/faults", calls.faults, methods=["POST"]),
        Route("/emulator/options", calls.options, methods=["POST"]),
        Route("/emulator/outage", calls.outage, methods=["POST"]),
        Route("/emulator/jobs", calls.jobs, methods=["GET"]),
    ]


class _Calls:
    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def clock(self, _request: Request) -> Response:
        """Tell the time."""
        return JSONResponse({"now": self._emulator.clock()})

    async def advance(self, request: Request) -> Response:
        """Move the clock: ``{"advance_hours": 1}``."""
        try:
            self._emulator.advance(hours=float((await request.json())["advance_hours"]))
        except (KeyError, TypeError, ValueError):
            return _refusal("advance_hours is needed, a number")
        return await self.clock(request)

    async def events(self, request: Request) -> Response:
        """Give the events of ``[start, end)`` as NDJSON, or with ``count=1`` their number."""
        asked = request.query_params
        try:
            start, end = int(asked["start"]), int(asked["end"])
            question = asked["customer"], asked["product"], start, end
        except (KeyError, ValueError):
            return _refusal("customer, product, start and end (milliseconds) are needed")
        types = asked.getlist("type") or None
        if asked.get("count", "0") != "0":
            return JSONResponse({"count": self._emulator.count(*question, types)})
        lines = _lines(self._emulator.events(*question, types))
        return StreamedResponse(lines, 200, {"content-type": "application/x-ndjson"})

    async def late(self, _request: Request) -> Response:
        """Let the late events that have occurred so far appear."""
        self._emulator.release_late()
        return JSONResponse({})

    async def forget(self, _request: Request) -> Response:
        """Forget all jobs, as a restart would."""
        self._emulator.forget_jobs()
        return JSONResponse({})

    async def faults(self, request: Request) -> Response:
        """Arm a fault: ``{"call": "poll", "kind": "status", "times": 2, "code": 502}``."""
        try:
            self._emulator.fault(**await request.json())
        except (TypeError, ValueError) as error:
            return _refusal(str(error))
        return JSONResponse({})

    async def options(self, request: Request) -> Response:
        """Change options: ``{"max_events": 1000}``."""
        try:
            self._emulator.change(**await request.json())
        except (TypeError, ValueError) as error:
            return _refusal(str(error))
        return JSONResponse({})

    async def outage(self, request: Request) -> Response:
        """Let all jobs fail for a while: ``{"seconds": 60}``, or later with ``"after"``."""
        try:
            given = {name: float(value) for name, value in (await request.json()).items()}
            self._emulator.outage(**given)
        except (AttributeError, TypeError, ValueError):
            return _refusal("seconds is needed, a number; after may be given, a number")
        return JSONResponse({})

    async def jobs(self, _request: Request) -> Response:
        """List the jobs so far, with the number of their events."""
        jobs = self._emulator.jobs
        return JSONResponse([{**job.answer(), "events": job.count} for job in jobs])


def _refusal(message: str) -> Response:
    return JSONResponse({"message": message}, status_code=400)


def _lines(events: Iterator[Event]) -> Iterator[bytes]:
    while some := list(islice(events, _LINES)):
        lines = (json.dumps(event._asdict(), ensure_ascii=False) for event in some)
        yield "".join(line + "\n" for line in lines).encode()

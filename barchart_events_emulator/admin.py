"""The emulator's own calls under ``/emulator/``, which the real service does not have.

For scripts that run the emulator as a process: they move the clock, change options, arm
faults, and read the expected events.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from barchart_events_emulator.faulty_transport import StreamedResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

    from barchart_events_emulator.generator import Event
    from barchart_events_emulator.service import Service

_LINES = 500
"""Events in one piece of a response."""


def admin_routes(service: Service) -> list[Route]:
    """Return the routes of the emulator's own calls."""
    calls = _AdminCalls(service)
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


class _AdminCalls:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def clock(self, _request: Request) -> Response:
        """Return the service's time."""
        return JSONResponse({"now": self._service.clock()})

    async def advance(self, request: Request) -> Response:
        """Move the clock: ``{"advance_hours": 1}``."""
        try:
            self._service.advance(hours=float((await request.json())["advance_hours"]))
        except (KeyError, TypeError, ValueError):
            return _refusal("advance_hours is needed, a number")
        return await self.clock(request)

    async def events(self, request: Request) -> Response:
        """Return the events of ``[start, end)`` as NDJSON, or with ``count=1`` their number."""
        query = request.query_params
        try:
            start, end = int(query["start"]), int(query["end"])
            selection = query["customer"], query["product"], start, end
        except (KeyError, ValueError):
            return _refusal("customer, product, start and end (milliseconds) are needed")
        types = query.getlist("type") or None
        if query.get("count", "0") != "0":
            return JSONResponse({"count": self._service.count(*selection, types)})
        lines = _lines(self._service.events(*selection, types))
        return StreamedResponse(lines, 200, {"content-type": "application/x-ndjson"})

    async def late(self, _request: Request) -> Response:
        """Release the late events that have occurred so far."""
        self._service.release_late()
        return JSONResponse({})

    async def forget(self, _request: Request) -> Response:
        """Forget all jobs, as after a restart."""
        self._service.forget_jobs()
        return JSONResponse({})

    async def faults(self, request: Request) -> Response:
        """Arm a fault: ``{"call": "poll", "kind": "status", "times": 2, "code": 502}``."""
        return await _apply(self._service.fault, request)

    async def options(self, request: Request) -> Response:
        """Change options: ``{"max_events": 1000}``."""
        return await _apply(self._service.change, request)

    async def outage(self, request: Request) -> Response:
        """Let all jobs fail: ``{"seconds": 60}``, after a while with ``"after"``."""
        try:
            given = {name: float(value) for name, value in (await request.json()).items()}
            self._service.outage(**given)
        except (AttributeError, TypeError, ValueError):
            return _refusal("seconds is needed, a number; after may be given, a number")
        return JSONResponse({})

    async def jobs(self, _request: Request) -> Response:
        """List the jobs so far, with the number of their events."""
        jobs = self._service.jobs
        return JSONResponse([{**job.as_json(), "events": job.count} for job in jobs])


async def _apply(change: Callable[..., object], request: Request) -> Response:
    """Make a change whose arguments are the request's JSON object; refuse what is no argument."""
    try:
        change(**await request.json())
    except (TypeError, ValueError) as error:
        return _refusal(str(error))
    return JSONResponse({})


def _refusal(message: str) -> Response:
    return JSONResponse({"message": message}, status_code=400)


def _lines(events: Iterator[Event]) -> Iterator[bytes]:
    while some := list(islice(events, _LINES)):
        lines = (json.dumps(event._asdict(), ensure_ascii=False) for event in some)
        yield "".join(line + "\n" for line in lines).encode()

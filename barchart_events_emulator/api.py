"""The service's calls over HTTP: start, poll, link, authenticate, version.

Requests that are not as documented are refused: what is accepted here should be accepted by
the service.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from barchart_events_emulator.faults import JOB_OUTCOMES, fault_of
from barchart_events_emulator.jobs import ExportJob
from barchart_events_emulator.responses import UNAUTHORIZED, gateway_error, service_error
from barchart_events_emulator.service import Service

VERSION = "6.0.0"
_SERVICE = {
    "version": VERSION,
    "name": "barchart-events-emulator",
    "description": "System for collecting and reporting usage statistics, emulated",
    "environment": "emulator",
}


LINK_SECONDS = 900.0
"""How long a download link works."""

FILTER = ("customer", "product", "types", "start", "end")
"""The keys of a filter, in the order in which they have to come."""


def call_of(method: str, path: str) -> str | None:
    """Return the name of a call, or ``None`` for a request that is no call of the service."""
    match method, path.split("/")[1:]:
        case "POST", ["reports"]:
            return "start"
        case "GET", ["reports", _, "availability"]:
            return "poll"
        case "GET", ["reports", _]:
            return "link"
        case "GET", ["service", "authenticate"]:
            return "authenticate"
        case "GET", ["service" | "system", "version"]:
            return "version"
    return None


def api_application(service: Service) -> Starlette:
    """Return the service's API as an ASGI application."""
    calls = _ServiceCalls(service)
    routes = [
        Route("/reports", calls.start, methods=["POST"]),
        Route("/reports/{source}/availability", calls.poll, methods=["GET"]),
        Route("/reports/{source}", calls.link, methods=["GET"]),
        Route("/service/authenticate", calls.authenticate, methods=["GET"]),
        Route("/service/version", calls.version, methods=["GET"]),
        Route("/system/version", calls.version, methods=["GET"]),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return app


def _guarded(
    handler: Callable[[_ServiceCalls, Request], Awaitable[Response]],
) -> Callable[[_ServiceCalls, Request], Awaitable[Response]]:
    async def guarded(calls: _ServiceCalls, request: Request) -> Response:
        if not calls.known(request.headers.get("authorization")):
            return gateway_error(UNAUTHORIZED, "Unauthorized")
        return await handler(calls, request)

    return guarded


class _ServiceCalls:
    def __init__(self, service: Service) -> None:
        self._service = service

    def known(self, authorization: str | None) -> bool:
        """Return whether an ``Authorization`` header holds the right credentials."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(token, validate=True)
        except binascii.Error:
            return False
        right = f"{self._service.username}:{self._service.password}".encode()
        return hmac.compare_digest(given, right)

    @_guarded
    async def start(self, request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        try:
            query, output = start_request(content_type, await request.body())
        except InvalidRequestError as error:
            return service_error("SCHEMA_VALIDATION_FAILURE", str(error))
        service = self._service
        if service.is_busy:
            return gateway_error(429, "Too many jobs are running.")
        kind, details = fault_of(request)
        if kind == "same-job" and service.jobs:
            return JSONResponse(service.jobs[0].as_json())
        shift = details["milliseconds"] if kind == "other-range" else 0
        job = service.start_job(query, output, shift)
        self._apply_fault(job, request)
        return JSONResponse(job.as_json())

    @_guarded
    async def poll(self, request: Request) -> Response:
        job = self._find(request)
        return _no_job() if job is None else JSONResponse(job.as_json())

    @_guarded
    async def link(self, request: Request) -> Response:
        job = self._find(request)
        if job is None:
            return _no_job()
        kind, details = fault_of(request)
        if job.status == "RUNNING":
            message = "The job is still running: no file yet."
            return service_error("EVENT_JOB_GET_FAILED_RUNNING", message)
        if not job.ready:
            return service_error("EVENT_JOB_GET_FAILED", "The job has failed: there is no file.")
        seconds = details["seconds"] if kind == "link-seconds" else LINK_SECONDS
        link = details["link"] if kind == "link" else self._service.new_link(job, seconds)
        accepted = request.headers.get("accept", "")
        if "application/json" in accepted and kind != "redirect":
            return JSONResponse({"link": link})
        return RedirectResponse(link, status_code=302)

    @_guarded
    async def authenticate(self, _request: Request) -> Response:
        return JSONResponse({"service": _SERVICE, "user": {"id": self._service.username}})

    async def version(self, _request: Request) -> Response:
        return JSONResponse({"service": _SERVICE})

    def _find(self, request: Request) -> ExportJob | None:
        if fault_of(request)[0] == "forget":
            self._service.forget_jobs()
        job = self._service.job(request.path_params["source"])
        if job is not None:
            self._apply_fault(job, request)
        return job

    def _apply_fault(self, job: ExportJob, request: Request) -> None:
        kind, details = fault_of(request)
        match kind:
            case "job-failed" | "job-timeout" | "job-hangs":
                job.end_as(JOB_OUTCOMES[kind])
            case "job-status":
                job.end_as(details["status"])
            case "forget":
                self._service.forget_jobs()
            case "filter":
                job.false_filter = _other_filter(job.filter, details)
            case "no-filter":
                job.false_filter = {}


def _other_filter(query: dict[str, Any], details: Mapping[str, Any]) -> dict[str, Any]:
    changed = {key: details[key] for key in FILTER if details[key] is not None}
    changed |= dict.fromkeys(details["nulls"])
    return {k: v for k, v in (query | changed).items() if k not in details["left_out"]}


class InvalidRequestError(Exception):
    """A request that the service refuses; the message says why."""


def start_request(content_type: str, body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the ``filter`` and the ``output`` of a start request.

    Raises:
        InvalidRequestError: The body is no JSON, or a key is missing, unknown, or of a wrong type.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequestError("The body must be application/json.")
    try:
        request = _keys(json.loads(body), "body", {"filter", "output"})
    except ValueError as error:
        raise InvalidRequestError("The body is no JSON.") from error
    if "filter" not in request:
        raise InvalidRequestError("The body must hold a filter.")
    query = _keys(request["filter"], "filter", set(FILTER))
    in_order = list(query) == [key for key in FILTER if key in query]
    _refuse_unless(in_order, f"The keys of the filter must be in the order {', '.join(FILTER)}.")
    for key in ("customer", "product"):
        _refuse_unless(_is_code(query.get(key)), f"filter.{key} must be a code.")
    for key in ("start", "end"):
        whole = type(query.get(key, 0)) is int
        _refuse_unless(whole, f"filter.{key} must be a whole number of milliseconds.")
    if "start" in query and "end" in query:
        forward = query["start"] <= query["end"]
        _refuse_unless(forward, "filter.start must not come after filter.end.")
    types = query.get("types", ["all"])
    codes = isinstance(types, list) and types and all(map(_is_code, types))
    _refuse_unless(codes, "filter.types must be a list of codes, or be left out.")
    output = _keys(request.get("output", {}), "output", {"delimiter"})
    mark = output.get("delimiter", "|")
    usable = isinstance(mark, str) and len(mark) == 1 and mark not in '"\r\n'
    _refuse_unless(usable, "output.delimiter must be one character.")
    return query, output


def _refuse_unless(valid: object, message: str) -> None:
    if not valid:
        raise InvalidRequestError(message)


def _is_code(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _keys(value: object, name: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"The {name} must be an object.")
    if unknown := sorted(set(value) - known):
        raise InvalidRequestError(f"The {name} must not hold {unknown[0]!r}.")
    return value


def _no_job() -> Response:
    return service_error("EVENT_JOB_GET_FAILED_NO_JOB", "There is no such job.")

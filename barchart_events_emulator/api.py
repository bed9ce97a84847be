"""The service's calls over HTTP: start, poll, link, authenticate, version.

Requests that are not as documented are refused: what is accepted here should be accepted by
the service.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from barchart_events_emulator.admin import admin_routes
from barchart_events_emulator.faults import JOB_OUTCOMES, Fault
from barchart_events_emulator.responses import UNAUTHORIZED, gateway_error, refusal, service_error
from barchart_events_emulator.validation import InvalidRequestError, start_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from barchart_events_emulator.jobs import ExportJob
    from barchart_events_emulator.service import Service

VERSION = "6.0.0"
_SERVICE = {
    "version": VERSION,
    "name": "barchart-events-emulator",
    "description": "System for collecting and reporting usage statistics, emulated",
    "environment": "emulator",
}


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
        *admin_routes(service),
    ]
    for route in routes:
        if route.methods:
            route.methods.discard("HEAD")
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_such_call})
    app.router.redirect_slashes = False
    return app


async def _no_such_call(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    response = gateway_error(error.status_code, error.detail)
    response.headers.update(error.headers or {})
    return response


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
            return refusal(service.refusal_status, service.refusal_retry_after)
        fault: Fault | None = request.state.fault
        kind = fault.kind if fault else None
        if kind == "same-job" and service.jobs:
            return JSONResponse(service.jobs[0].as_json())
        shift = fault.details["milliseconds"] if fault and kind == "other-range" else 0
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
        fault: Fault | None = request.state.fault
        kind = fault.kind if fault else None
        if not job.ready:
            if job.status == "RUNNING":
                return service_error(
                    "EVENT_JOB_GET_FAILED_RUNNING", "The job is still running: no file yet."
                )
            return service_error("EVENT_JOB_GET_FAILED", "The job has failed: there is no file.")
        seconds = job.options.link_seconds
        if fault is not None and kind == "link-seconds":
            seconds = fault.details["seconds"]
        link = self._service.new_link(job, seconds)
        if fault is not None and kind == "link":
            link = fault.details["link"]
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
        fault: Fault | None = request.state.fault
        if fault is not None and fault.kind == "forget":
            self._service.forget_jobs()
        job = self._service.job(request.path_params["source"])
        if job is not None:
            self._apply_fault(job, request)
        return job

    def _apply_fault(self, job: ExportJob, request: Request) -> None:
        fault: Fault | None = request.state.fault
        if fault is None:
            return
        if fault.kind in JOB_OUTCOMES:
            job.end_as(JOB_OUTCOMES[fault.kind])
        elif fault.kind == "job-status":
            job.end_as(fault.details["status"])
        elif fault.kind == "forget":
            self._service.forget_jobs()
        elif fault.kind == "filter":
            job.false_filter = _other_filter(job.filter, fault.details)
        elif fault.kind == "no-filter":
            job.false_filter = {}


def _other_filter(query: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    keys = ("customer", "product", "types", "start", "end")
    changed = {key: details[key] for key in keys if details[key] is not None}
    changed |= dict.fromkeys(details["nulls"])
    return {k: v for k, v in (query | changed).items() if k not in details["left_out"]}


def _no_job() -> Response:
    return service_error("EVENT_JOB_GET_FAILED_NO_JOB", "There is no such job.")

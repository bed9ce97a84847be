"""Error responses: those of the service's documentation, and those that faults give."""

from collections.abc import Callable
from email.utils import formatdate

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from barchart_events_emulator.faults import Fault

UNAUTHORIZED = 401
FORBIDDEN = 403

_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"
_MESSAGES = {UNAUTHORIZED: "Unauthorized", FORBIDDEN: "Forbidden"}


def gateway_error(status: int, message: str) -> JSONResponse:
    """Return an error response of the gateway before the service."""
    return JSONResponse({"message": message}, status_code=status)


def service_error(code: str, message: str, status: int = 500) -> JSONResponse:
    """Return the service's documented error response."""
    error = {"value": {"code": code, "message": message}, "children": []}
    return JSONResponse([error], status_code=status)


def storage_error(status: int, code: str, message: str) -> Response:
    """Return an error response of object storage."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )
    return Response(text, status_code=status, media_type="application/xml")


def response_of(fault: Fault, elsewhere: str, now: float) -> Response | None:
    """Return the response that a fault puts in the place of the call's own, if it does.

    Args:
        fault: The fault that applies.
        elsewhere: The target of a redirect without a location.
        now: The service's time, in seconds since the epoch.
    """
    if fault.kind == "redirect":
        if fault.call == "link" and fault.details["location"] is None:
            return None
        return RedirectResponse(fault.details["location"] or elsewhere, status_code=302)
    if fault.kind == "status":
        return _status(fault, now)
    respond = _RESPONSES.get(fault.kind)
    return respond(fault) if respond else None


def _status(fault: Fault, now: float) -> Response:
    code, body = fault.details["code"], fault.details["body"]
    seconds = fault.details["retry_after"]
    headers = {}
    if seconds is not None and fault.details["as_date"]:
        headers["Retry-After"] = formatdate(now + seconds, usegmt=True)
    elif seconds is not None:
        headers["Retry-After"] = str(seconds)
    if body is None:
        body = "json" if code in _MESSAGES else "html"
    if body == "json":
        message = _MESSAGES.get(code, "Error")
        return JSONResponse({"message": message}, status_code=code, headers=headers)
    page = _PAGE.format(f"{code} Error") if body == "html" else ""
    return HTMLResponse(page, status_code=code, headers=headers)


_RESPONSES: dict[str, Callable[[Fault], Response]] = {
    "error": lambda fault: service_error(
        fault.details["code"], "For unspecified reason(s).", fault.details["status"]
    ),
    "storage-error": lambda fault: storage_error(**fault.details),
    "html": lambda _: HTMLResponse(_PAGE.format("Please stand by")),
    "empty": lambda _: Response(b"", media_type="application/json"),
    "malformed": lambda _: Response(b'{"source": "JOB-', media_type="application/json"),
    "shape": lambda fault: JSONResponse(fault.details["value"]),
}

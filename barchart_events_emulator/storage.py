"""Object storage, which serves the files: signed links, ranges, compression.

It has another origin than the API, and refuses requests with credentials beside the signature.
"""

import gzip
import re
from collections.abc import Mapping
from itertools import repeat
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from barchart_events_emulator.faults import fault_of
from barchart_events_emulator.faulty_transport import StreamedResponse
from barchart_events_emulator.files import ServedFile, compress_stream, compressed, in_form
from barchart_events_emulator.jobs import ExportJob, Link
from barchart_events_emulator.responses import FORBIDDEN, storage_error
from barchart_events_emulator.service import Service

_MEGABYTE = 1 << 20
_BLOCK = 16
"""Megabytes in each block of a bomb."""

PARTIAL_CONTENT = 206

_TWO_IDENTITIES = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature "
    "query string parameter or the Authorization header should be specified"
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def call_of(method: str, path: str) -> str | None:
    """Return the name of a call, or ``None`` for a request of no file."""
    return "download" if method == "GET" and path.startswith("/exports/") else None


def storage_application(service: Service) -> Starlette:
    """Return object storage as an ASGI application."""

    async def fetch(request: Request) -> Response:
        link = service.links.find(request.url.path, request.url.query)
        if "authorization" in request.headers:
            return storage_error(400, "InvalidArgument", _TWO_IDENTITIES)
        if link is None or request.method != "GET":
            return storage_error(FORBIDDEN, "SignatureDoesNotMatch", "The signature differs.")
        return _respond(service, request, link)

    return Starlette(routes=[Route("/{path:path}", fetch, methods=None)])


def _respond(service: Service, request: Request, link: Link) -> Response:
    kind, details = fault_of(request)
    # With ``at``, the fault occurs while the body is sent (``faulty_transport.py``). Here the file
    # or the link changes for the next request.
    later = details.get("at") is not None
    expired = link.expired
    if kind == "expire":
        service.links.expire(link.job)
        expired = expired or not later
    if expired:
        return storage_error(FORBIDDEN, "AccessDenied", "Request has expired")
    if kind == "bomb":
        return _bomb(details["unit"], details["megabytes"])
    if kind == "form":
        return _other_form(request, link.job, details)
    if kind == "body":
        link.job.replace_file(details["body"])
    if kind == "etag" and not later:
        link.job.generation += 1
    response = _file_response(request, link.job)
    if kind == "etag" and later:
        link.job.generation += 1
    if kind == "rest" and response.status_code == PARTIAL_CONTENT:
        response.status_code = 200
        if not details["content_range"]:
            del response.headers["content-range"]
    return response


def _other_form(request: Request, job: ExportJob, details: Mapping[str, Any]) -> Response:
    file = _file_of(job)
    headers = {"content-type": details["content_type"], "etag": job.etag}
    if details["content_encoding"] is not None:
        headers["content-encoding"] = details["content_encoding"]
    if details["form"] is not None:
        file = in_form(file, details["form"])
    return _range_response(request, file, headers, send_length=job.options.content_length)


def _file_of(job: ExportJob) -> ServedFile:
    if job.file is None:
        raise AssertionError("a job without a file has no link")
    return job.file


def _file_response(request: Request, job: ExportJob) -> Response:
    file = _file_of(job)
    etag = job.etag
    headers = {"content-type": "text/csv", "accept-ranges": "bytes", "etag": etag}
    streamed = False
    if job.options.gzip and _accepts_gzip(request):
        headers |= {
            "content-encoding": "gzip",
            "vary": "Accept-Encoding",
            "etag": etag[:-1] + '-gzip"',
        }
        small = compressed(file)
        streamed = small is None
        file = small or file
    if streamed:
        # Its compressed length is not known, so the whole file is served, without ranges.
        del headers["accept-ranges"]
        return StreamedResponse(compress_stream(file.read()), 200, headers)
    return _range_response(request, file, headers, send_length=job.options.content_length)


def _range_response(
    request: Request, file: ServedFile, headers: dict[str, str], *, send_length: bool
) -> Response:
    start, stop, status = 0, file.size, 200
    requested = _RANGE.fullmatch(request.headers.get("range", ""))
    condition = request.headers.get("if-range")
    if requested and any(requested.groups()) and condition in {None, headers["etag"]}:
        first, last = requested.groups()
        status = PARTIAL_CONTENT
        if first:
            start = int(first)
            stop = min(file.size, int(last) + 1) if last else file.size
        else:
            start = max(0, file.size - int(last))
        if start >= stop:
            refusal = storage_error(416, "InvalidRange", "The requested range is not satisfiable")
            refusal.headers["content-range"] = f"bytes */{file.size}"
            return refusal
        headers["content-range"] = f"bytes {start}-{stop - 1}/{file.size}"
    if send_length:
        headers["content-length"] = str(stop - start)
    return StreamedResponse(file.read(start, stop), status, headers)


def _accepts_gzip(request: Request) -> bool:
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = part.strip().partition(";")
        if coding.strip() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _bomb(unit: str, megabytes: int) -> Response:
    text = unit.encode()
    block = gzip.compress(text * (_BLOCK * _MEGABYTE // len(text)), mtime=0)
    blocks = repeat(block, max(1, megabytes // _BLOCK))
    headers = {"content-type": "text/csv", "content-encoding": "gzip", "etag": '"bomb"'}
    return StreamedResponse(blocks, 200, headers)

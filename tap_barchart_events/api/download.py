"""Downloads the complete export file that a link leads to. Does not depend on the service's API.

A broken transfer resumes if object storage still has the same file. The bytes decide whether a file
is compressed; labels matter only for an empty one. The link is a secret: no error and no log holds
it.
"""

import gzip
import logging
import os
import re
import threading
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import requests

from tap_barchart_events import exceptions as errors
from tap_barchart_events.api.http import MAX_TIMEOUTS, TRANSIENT, mapped_errors, retry_after
from tap_barchart_events.api.transcript import headers_form
from tap_barchart_events.urls import is_safe

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
MAX_REDIRECTS = 5

MAX_FILE_BYTES = 4 << 30
"""Bytes of one export, as transferred and decompressed: 50 million events of 80 bytes."""

MIN_RATE = 100
"""Bytes a second, after ``MAX_TIMEOUTS`` request timeouts: a slower transfer counts as broken."""

GZIP = b"\x1f\x8b"
"""First bytes of a gzip file, and of no text in UTF-8."""

BLANKS = b" \t\r\n\v\f\xef\xbb\xbf"
"""White space, and the bytes of a byte order mark in UTF-8."""

NEVER_EMPTY = re.compile(r"html|json|xml|zip|compress|deflate|\bbr\b|zstd", re.IGNORECASE)
"""Content types and content encodings of a body that is never empty."""

ERROR_CODE = re.compile(rb"<Code>\s*(\w{1,60})\s*</Code>")
"""The code in an error of object storage; shorter than a signature."""

TWO_CREDENTIALS = frozenset({"InvalidArgument", "InvalidRequest"})
"""Codes for requests with both an ``Authorization`` header and the link's signature."""

NO_FILE = (
    "the job is complete but object storage has no file, which can happen after an export without "
    "events; run again later, and if the error persists, contact Barchart support"
)


@dataclass
class Download:
    """The download of one export file, over several links if necessary."""

    path: Path
    """Where the file goes; readable by its owner only."""

    what: str
    """What is downloaded, for errors: ``download the export of job …``."""

    session: requests.Session
    """Without any authentication."""

    timeout: float
    """To connect and for each read, in seconds."""

    stopped: threading.Event
    """Ends the transfer when set."""

    received: int = 0
    """Bytes of the file received so far, as transferred."""

    best: int = 0
    """The most bytes received by any try."""

    _size: int = 0
    """Bytes of the file, as announced; 0 if the size is not known."""

    _headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the response whose body began at the first byte."""

    def run(self, link: str) -> None:
        """Transfer what is missing, with one request, and check the file.

        Raises:
            TransientError: The link has expired, the transfer broke or came out too short, or a
                page came instead of the file; call again, with a new link.
            ServiceError: Object storage refuses for good.
            FileError: The disk is full, or the file is too large.
            SyncStopped: The sync is ending.
        """
        try:
            self._transfer(link)
            self._check_contents()
        except OSError as error:
            raise errors.ResourceError(
                f"could not {self.what}: writing to {self.path.parent} failed ({error.strerror}); "
                "free space there, or set TMPDIR to a larger disk"
            ) from None

    def _transfer(self, link: str) -> None:
        # Object storage may still compress. Without compression, a broken transfer can
        # resume at any byte.
        headers = {"Accept-Encoding": "identity"}
        etag = self._headers.get("ETag", "")
        is_resumed = 0 < self.received < self._size and etag.startswith('"')
        if is_resumed:
            headers |= {"Range": f"bytes={self.received}-", "If-Range": etag}
        with self._get(link, headers) as response:
            form = headers_form(response.headers)
            logger.debug("response to download: %d %s", response.status_code, form)
            if response.status_code not in {200, 206}:
                raise self._refusal(response, is_resumed=is_resumed)
            self._begin(response, is_resumed=is_resumed)
            began, before = time.monotonic(), self.received
            with _private_file(self.path, os.O_APPEND if self.received else os.O_TRUNC) as file:
                while chunk := self._read(response):
                    self._check_size(self.received + len(chunk))
                    file.write(chunk)
                    self.received += len(chunk)
                    self.best = max(self.best, self.received)
                    seconds = time.monotonic() - began - MAX_TIMEOUTS * self.timeout
                    if self.received - before < MIN_RATE * seconds:
                        raise errors.TransientError(f"could not {self.what}: transfer too slow")

    def _get(self, link: str, headers: dict[str, str]) -> requests.Response:
        # Redirects are followed here, so that each is checked.
        for _ in range(MAX_REDIRECTS):
            if not is_safe(link):
                raise errors.ServiceError(
                    f"could not {self.what}: the link is not https; check api_url"
                )
            with mapped_errors(self.what, urlsplit(link).hostname or ""):
                response = self.session.get(
                    link, headers=headers, timeout=self.timeout, stream=True, allow_redirects=False
                )
                if not response.is_redirect:
                    return response
                response.close()
                link = urljoin(link, response.headers["Location"])
        raise errors.ServiceError(f"could not {self.what}: object storage redirects too often")

    def _read(self, response: requests.Response) -> bytes:
        """Return the next bytes of a body as they arrive, without decoding; none at its end.

        The end is certain: urllib3 raises an error if a body is shorter than was announced.
        """
        with mapped_errors(self.what, "object storage"):
            chunk: bytes = response.raw.read1(CHUNK, decode_content=False)
        if self.stopped.is_set():  # the folder is about to be removed
            raise errors.SyncStopped
        return chunk

    def _begin(self, response: requests.Response, *, is_resumed: bool) -> None:
        """Check that a response is certainly the requested range, or the whole file."""
        status, headers = response.status_code, response.headers
        length: int | None = response.raw.length_remaining
        # Some proxies ignore If-Range; parts of two files must not become one
        # (RFC 9110, 15.3.7.3).
        same = ("ETag", "Content-Encoding")
        is_same_file = all(headers.get(name) == self._headers.get(name) for name in same)
        rest = f"bytes {self.received}-{self._size - 1}/{self._size}"
        is_rest = headers.get("Content-Range") == rest and length == self._size - self.received
        if is_resumed and status == 206 and is_same_file and is_rest:
            return
        is_whole = status == 200 and (length is not None or response.raw.chunked)
        # Some servers answer a request for a part with 200 and no more than that part.
        if not is_whole or (is_resumed and length != self._size):
            self.received = 0
            raise errors.TransientError(
                f"could not {self.what}: the response may not be the whole file: its length "
                "is missing, or it is only a part; exclude object storage from any proxy"
            )
        self._headers, self._size, self.received = headers, length or 0, 0
        self._check_size(self._size)

    def _refusal(self, response: requests.Response, *, is_resumed: bool) -> errors.ServiceError:
        """Return what an error of object storage means."""
        body, status = b"", response.status_code
        with suppress(errors.TransientError):
            body = self._read(response)
        found = ERROR_CODE.search(body)
        code = found[1].decode() if found else ""
        logger.debug("code of object storage: %s", code or "none")
        text = f"could not {self.what}: object storage answered {status} {code}".rstrip()
        may_continue = status in TRANSIENT or status == 403
        if not may_continue:
            self.received = 0
        may_pass = status == 404 or (status == 400 and code not in TWO_CREDENTIALS)
        if not (may_continue or may_pass or is_resumed):
            return errors.ServiceError(f"{text}; check any proxy, or contact Barchart support")
        advice = NO_FILE if status == 404 or code == "AccessDenied" else ""
        return errors.TransientError(text, retry_after(response.headers), advice)

    def _check_size(self, size: int) -> None:
        if size > MAX_FILE_BYTES:
            raise errors.FileError(
                f"could not {self.what}: the file has over {MAX_FILE_BYTES:,} bytes; "
                "lower window_hours"
            )

    def _check_contents(self) -> None:
        """Decompress a file that is compressed; refuse what cannot be an export."""
        head = self._beginning()
        is_compressed = head.startswith(GZIP)
        while head.startswith(GZIP):  # a proxy may compress once more
            self._inflate()
            head = self._beginning()
        labels = [self._headers.get(name, "") for name in ("Content-Type", "Content-Encoding")]
        label = " ".join(labels).strip()
        is_missing = not head and not is_compressed and NEVER_EMPTY.search(label)
        if is_missing or head.startswith((b"<", b"{", b"[")):
            empty = f"is empty, although it is labelled {label[:80]!r}"
            fault = f"begins with {chr(head[0])!r}" if head else empty
            self.received = 0
            raise errors.TransientError(
                f"could not {self.what}: the response is not the file: it {fault}",
                advice="check any proxy; if the error persists, contact Barchart support",
            )

    def _beginning(self) -> bytes:
        """Return the first bytes of the file after white space."""
        with self.path.open("rb") as file:
            return file.read(1 << 16).lstrip(BLANKS)

    def _inflate(self) -> None:
        """Replace the file with what it inflates to."""
        plain = self.path.with_name(f"{self.path.name}.plain")
        size = 0
        try:
            with gzip.open(self.path) as packed, _private_file(plain, os.O_TRUNC) as file:
                while piece := packed.read(CHUNK):
                    size += len(piece)
                    self._check_size(size)
                    file.write(piece)
            plain.replace(self.path)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            self.received = 0
            raise errors.TransientError(f"could not {self.what}: its gzip is corrupt") from None
        finally:
            plain.unlink(missing_ok=True)


def _private_file(path: Path, flag: int) -> BinaryIO:
    """Open a file for writing, readable by its owner only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "ab")

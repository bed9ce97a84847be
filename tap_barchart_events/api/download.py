"""Downloads the complete export file that a link leads to. Does not depend on the service's API.

The bytes received are compared with the announced length. A broken transfer resumes if object
storage still has the same file. The bytes decide whether a file is compressed, and whether it is
an export; a label that contradicts them is a warning. The link is a secret: no error and no log
holds it.
"""

from __future__ import annotations

import errno
import gzip
import os
import re
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from tap_barchart_events.api.http import MAX_TIMEOUTS, mapped_errors
from tap_barchart_events.api.retry import TRANSIENT_STATUSES, TransientError, retry_after
from tap_barchart_events.exceptions import FileError, ResourceError, ServiceError, SyncStopped
from tap_barchart_events.urls import is_safe

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    import requests

CHUNK = 1 << 20
MAX_REDIRECTS = 5

MAX_FILE_BYTES = 4 << 30
"""Bytes of one export, as transferred and decompressed: 50 million events of 80 bytes."""

MIN_RATE = 100
"""Bytes a second: a transfer that is slower for ``MAX_TIMEOUTS`` is broken."""

RANGE = re.compile(r"\s*bytes (\d{1,18})-(\d{1,18})/(\d{1,18})\s*", re.ASCII)
"""``Content-Range``: first byte, last byte, length of the whole file."""

HTTP_1_1 = 11
"""As http.client writes the version."""

GZIP = b"\x1f\x8b"
"""First bytes of a gzip file, and of no text in UTF-8."""

OTHER_FORMS = {
    "a ZIP archive": re.compile(rb"PK(\x03\x04|\x05\x06)"),
    "text in UTF-16": re.compile(rb"\xff\xfe|\xfe\xff|(\0[^\0]){4}|([^\0]\0){4}"),
}
"""First bytes of files that the tap does not read."""

BLANKS = b" \t\r\n\v\f\xef\xbb\xbf"
"""White space, and the bytes of a byte order mark in UTF-8."""

PAGE_TYPES = re.compile("html|json|xml", re.IGNORECASE)
"""Content types of pages and of error messages."""

COMPRESSIONS = re.compile(r"zip|compress|deflate|\bbr\b|zstd", re.IGNORECASE)
"""Content types and content encodings of a body that is never empty."""

ERROR_CODE = re.compile(rb"<Code>\s*(\w{1,60})\s*</Code>")
"""The code in an error of object storage; shorter than a signature."""

EXPIRED = frozenset({"ExpiredToken", "RequestTimeout", "TokenRefreshRequired"})
"""Codes of errors that a new link helps against, beside those of status 403."""

TWO_CREDENTIALS = frozenset({"InvalidArgument", "InvalidRequest"})
"""Codes of requests with an ``Authorization`` header beside the signature of the link."""

NO_FILE = (
    "the job is complete but object storage has no file, as it may be after an export without "
    "events; run again later, and if the error persists, ask Barchart's support"
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

    warn_once: Callable[[str], None]
    """Logs a warning, if it is the first of this text."""

    received: int = field(default=0, init=False)
    """Bytes of the body received so far, as transferred."""

    best: int = field(default=0, init=False)
    """The most bytes received by any try."""

    _etag: str | None = field(default=None, init=False)
    _total: int | None = field(default=None, init=False)
    _type: str = field(default="", init=False)
    _encoding: str = field(default="", init=False)

    def run(self, link: str) -> None:
        """Transfer what is missing, with one request, and check the file.

        Raises:
            TransientError: The link has expired, the transfer broke or came out too short, or a
                page came instead of the file; call again, with a new link.
            ServiceError: Object storage refuses for good.
            FileError: The disk is full, or the file has no end, or is not text in UTF-8.
            SyncStopped: The sync is ending.
        """
        try:
            self._transfer(link)
            self._check_contents()
        except OSError as error:
            remedy = "free space there, or set TMPDIR to a larger disk"
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                remedy = "raise the limit of open files (ulimit -n)"
            raise ResourceError(
                f"could not {self.what}: writing to {self.path.parent} failed "
                f"({error.strerror}); {remedy}"
            ) from None

    def _transfer(self, link: str) -> None:
        # Object storage may compress all the same. Without compression a broken transfer can
        # resume at any byte.
        headers = {"Accept-Encoding": "identity"}
        if self.received and self._etag:
            headers |= {"Range": f"bytes={self.received}-", "If-Range": self._etag}
        with self._get(link, headers) as response:
            self._begin(response, resumed="Range" in headers)
            if self.stopped.is_set():  # the folder is about to be removed
                raise SyncStopped
            with _private_file(self.path, os.O_APPEND if self.received else os.O_TRUNC) as file:
                for chunk in self._chunks(response):
                    self._check_size(self.received + len(chunk))
                    file.write(chunk)
                    self.received += len(chunk)
                    self.best = max(self.best, self.received)
        if self._total is not None and self.received != self._total:
            raise TransientError(
                f"could not {self.what}: received {self.received:,} of {self._total:,} bytes"
            )

    def _get(self, link: str, headers: dict[str, str]) -> requests.Response:
        # Redirects are followed here, so that each is checked.
        for _ in range(MAX_REDIRECTS):
            if not is_safe(link):
                lacking = "https" if re.match(r"\w+://", link) else "a complete URL"
                raise ServiceError(
                    f"could not {self.what}: the link is not {lacking}; nothing was sent there; "
                    "check api_url, or ask Barchart's support"
                )
            with mapped_errors(self.what, urlsplit(link).hostname or ""):
                response = self.session.get(
                    link, headers=headers, timeout=self.timeout, stream=True, allow_redirects=False
                )
                if not response.is_redirect:
                    return response
                response.close()
                link = urljoin(link, response.headers["Location"])
        raise ServiceError(f"could not {self.what}: object storage redirects too often")

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the body as it arrives: so a slow transfer differs from one that has stopped."""
        began, size = time.monotonic(), 0
        while True:
            with mapped_errors(self.what, "object storage"):
                chunk = response.raw.read1(CHUNK, decode_content=False)
            if self.stopped.is_set():
                raise SyncStopped
            if not chunk:
                return
            size += len(chunk)
            seconds = time.monotonic() - began
            if seconds > MAX_TIMEOUTS * self.timeout:
                if size < MIN_RATE * seconds:
                    raise TransientError(
                        f"could not {self.what}: object storage: the response comes too slowly"
                    )
                began, size = time.monotonic(), 0
            yield chunk

    def _begin(self, response: requests.Response, *, resumed: bool) -> None:
        """Check the head of a response: it is of the whole file, or of the requested part."""
        status = response.status_code
        if status not in {200, 206}:
            raise self._refusal(response, resumed=resumed)
        length = self._length(response)
        if status == 206 and resumed and self._continues(response, length):
            return
        # Some servers answer a request for a part with 200 and no more than that part.
        if status == 206 or (resumed and (length is None or length != self._total)):
            raise self._restart(
                f"could not {self.what}: the response may be another part of the file"
            )
        etag = response.headers.get("ETag", "")
        self._etag = etag if etag.startswith('"') else None
        self._type = response.headers.get("Content-Type", "")
        self._encoding = response.headers.get("Content-Encoding", "").lower()
        self._total = length
        self.received = 0
        self._check_size(length or 0)

    def _refusal(self, response: requests.Response, *, resumed: bool) -> ServiceError:
        """Return what an error of object storage means."""
        body = b""
        with suppress(TransientError), mapped_errors(self.what, "object storage"):
            body = response.raw.read(CHUNK, decode_content=False)
        found = ERROR_CODE.search(body)
        code = found[1].decode() if found else ""
        status = response.status_code
        answer = f"{status} {code}".rstrip()
        may_continue = status in TRANSIENT_STATUSES or status == 403 or code in EXPIRED
        if not may_continue:
            self.received = 0
        is_final = code in TWO_CREDENTIALS or status not in {400, 404}
        if is_final and not may_continue and not resumed:
            return ServiceError(
                f"could not {self.what}: object storage answered {answer}; if the error "
                "persists, check the proxy, or ask Barchart's support"
            )
        error = TransientError(
            f"could not {self.what}: object storage answered {answer}",
            retry_after(response.headers),
        )
        if status == 404 or code == "AccessDenied":
            error.advice = NO_FILE
        return error

    def _continues(self, response: requests.Response, length: int | None) -> bool:
        """Return whether a part continues the bytes received, and belongs to the same file."""
        found = RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found:
            return False
        first, last, total = map(int, found.groups())
        # Some proxies ignore If-Range; parts of two files must not become one
        # (RFC 9110, 15.3.7.3).
        is_same_file = (
            self._total in {None, total}
            and response.headers.get("ETag") == self._etag
            and response.headers.get("Content-Encoding", self._encoding).lower() == self._encoding
        )
        self._total = total
        return is_same_file and first == self.received and length in {None, last - first + 1}

    def _length(self, response: requests.Response) -> int | None:
        """Return the length of a body; None if it is chunked, and so marks its own end.

        Raises:
            TransientError: The end is uncertain, because there is no length either, or because
                the body has a transfer coding that was not requested (RFC 9112, 6.1 and 6.3).
        """
        coding = response.headers.get("Transfer-Encoding", "").lower()
        length: int | None = response.raw.length_remaining
        if length is not None and not coding:
            return length
        if coding == "chunked" and response.raw.version >= HTTP_1_1:
            return None
        raise self._restart(
            f"could not {self.what}: object storage does not give the length of the file, so the "
            "tap could not detect a missing end; exclude object storage from the proxy"
        )

    def _restart(self, message: str) -> TransientError:
        """Return an error after which the download starts again, without what was received."""
        self.received = 0
        return TransientError(message)

    def _check_size(self, size: int) -> None:
        if size > MAX_FILE_BYTES:
            raise FileError(
                f"could not {self.what}: the file has over {MAX_FILE_BYTES:,} bytes, more than is "
                "read as one file; lower window_hours"
            )

    def _check_contents(self) -> None:
        """Decompress a file that is compressed; refuse what cannot be an export."""
        is_compressed = self._beginning().startswith(GZIP)
        while self._beginning().startswith(GZIP):  # a proxy may compress once more
            self._inflate()
        expected = {"", "identity", *(("gzip", "x-gzip") if is_compressed else ())}
        if self._encoding not in expected:
            self.warn_once(
                f"object storage: the bytes contradict the Content-Encoding "
                f"{self._encoding[:40]!r}; the tap goes by the bytes"
            )
        head = self._beginning()
        labels = f"{self._type} {self._encoding}".strip()
        is_page = (not head or head[0] in b"<{[") and PAGE_TYPES.search(self._type)
        is_missing = not head and not is_compressed and COMPRESSIONS.search(labels)
        if is_page or is_missing:
            fault = f"begins with {chr(head[0])!r}" if head else "is empty"
            error = self._restart(
                f"could not {self.what}: the response is not the file: it {fault}, and is labelled "
                f"{labels[:80]!r}"
            )
            error.advice = "check the proxy; if the error persists, ask Barchart's support"
            raise error
        for kind, beginning in OTHER_FORMS.items():
            if beginning.match(head):
                raise FileError(
                    f"could not {self.what}: the file is {kind}, and the tap reads text in UTF-8, "
                    "also in gzip; check the proxy, or ask Barchart's support for such text"
                )

    def _beginning(self) -> bytes:
        """Return the first bytes of the file after white space; none if it has nothing else."""
        with self.path.open("rb") as file:
            while block := file.read(1 << 16):
                if head := block.lstrip(BLANKS):
                    return head
        return b""

    def _inflate(self) -> None:
        """Replace the file by what it inflates to."""
        plain = self.path.with_name(f"{self.path.name}.plain")
        size = 0
        try:
            with gzip.open(self.path) as packed, _private_file(plain, os.O_TRUNC) as file:
                while piece := packed.read(CHUNK):
                    if self.stopped.is_set():
                        raise SyncStopped
                    size += len(piece)
                    self._check_size(size)
                    file.write(piece)
            plain.replace(self.path)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise self._restart(
                f"could not {self.what}: its compression is broken, or cut short"
            ) from None
        finally:
            plain.unlink(missing_ok=True)


def _private_file(path: Path, flag: int) -> BinaryIO:
    """Open a file for writing, readable by its owner only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "ab")

"""Downloads the complete export file that a link leads to. Does not depend on the service's API.

The bytes received are compared with the announced length. A broken transfer resumes if object
storage still has the same file. A compressed file is decompressed. The link is a secret: no
error and no log holds it.
"""

from __future__ import annotations

import errno
import os
import zlib
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from tap_barchart_events.api.connection import Transfer, transfer_of
from tap_barchart_events.api.redaction import replace_errors, without_url
from tap_barchart_events.api.retry import TRANSIENT_STATUSES, TransientError, retry_after
from tap_barchart_events.exceptions import (
    FileError,
    LinkExpiredError,
    ResourceError,
    ServiceError,
    SyncStopped,
)
from tap_barchart_events.urls import is_safe

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    import requests

CHUNK = 1 << 20
MAX_REDIRECTS = 5

NO_EXPORT = ("html", "json", "xml")
"""Words of a content type that no export has: the response is a message of something in between."""

MAX_FILE_BYTES = 4 << 30
"""Bytes of one export, on disk and as transferred: 50 million events of 80 bytes."""

MAX_DIGITS = 19
"""A number of bytes has fewer digits."""

HTTP_1_1 = 11
"""As http.client writes the version."""

GZIP = zlib.MAX_WBITS | 16
"""zlib and not isal, which refuses a header with a checksum that is split between two chunks."""

INFLATED_AT_LEAST = 1 << 30
"""Bytes that any export may inflate to."""

INFLATED_RATIO = 100
"""Beyond that, how many times its compressed size a file may inflate to; no export needs more."""


class Download:
    """The download of one export file, over several links if necessary."""

    def __init__(
        self,
        path: Path,
        *,
        what: str,
        session: requests.Session,
        timeout: float,
        stopped: threading.Event,
    ) -> None:
        """Prepare a download.

        Args:
            path: Where the file goes; readable by its owner only.
            what: What is downloaded, for errors: ``download the export of job …``.
            session: Without any authentication.
            timeout: To connect and for each read, in seconds.
            stopped: Ends the transfer when set.
        """
        self._path = path
        self._what = what
        self._session = session
        self._timeout = timeout
        self._stopped = stopped
        self._etag: str | None = None
        self._encoding = ""
        self._total: int | None = None
        self._inflate: zlib._Decompress | None = None
        self.received = 0
        """Bytes of the body received so far, as transferred."""
        self.best = 0
        """The most bytes received by any try."""
        self._inflated = 0
        self._written = 0

    def run(self, link: str) -> None:
        """Transfer what is missing, with one request.

        Raises:
            LinkExpiredError: The link has expired.
            TransientError: The transfer broke or came out too short; call again.
            ServiceError: Object storage refuses for good.
            FileError: The disk is full, or the file inflates without end.
            SyncStopped: The sync is ending.
        """
        headers = {}
        if self.received and self._etag:
            headers = {"Range": f"bytes={self.received}-", "If-Range": self._etag}
        with self._get(link, headers) as response:
            transfer = transfer_of(response)
            total = self._begin(response, resumed=bool(headers))
            if self._stopped.is_set():  # the folder is about to be removed
                raise SyncStopped
            flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if self.received else os.O_TRUNC)
            try:
                with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
                    for chunk in self._chunks(response, transfer):
                        self._check_size(self.received + len(chunk))
                        for piece in self._plain(chunk):
                            self._written += len(piece)
                            self._check_size(self._written)
                            file.write(piece)
                        self.received += len(chunk)
                        self.best = max(self.best, self.received)
            except OSError as error:
                remedy = "free space there, or set TMPDIR to a larger disk"
                if error.errno in {errno.EMFILE, errno.ENFILE}:
                    remedy = "raise the limit of open files (ulimit -n)"
                raise ResourceError(
                    f"could not {self._what}: writing to {self._path.parent} failed "
                    f"({error.strerror}); {remedy}"
                ) from None
        self._check(total)
        transfer.is_complete = True

    def _get(self, link: str, headers: dict[str, str]) -> requests.Response:
        for _ in range(MAX_REDIRECTS):
            if not is_safe(link):
                raise ServiceError(
                    f"could not {self._what}: the link is not https; nothing was sent there"
                )
            host = urlsplit(link).hostname or ""
            response = without_url(partial(self._request, link, headers), self._what, host)
            if not response.is_redirect:
                return response
            response.close()
            location = response.headers["Location"]
            link = replace_errors(
                partial(urljoin, link, location),
                (ValueError,),
                lambda _: TransientError(f"could not {self._what}: the redirect has no valid URL"),
            )
        raise ServiceError(f"could not {self._what}: object storage redirects too often")

    def _request(self, link: str, headers: dict[str, str]) -> requests.Response:
        return self._session.get(
            link,
            # Object storage may compress all the same. Without compression a broken transfer
            # can resume at any byte.
            headers={"Accept-Encoding": "identity", **headers},
            timeout=self._timeout,
            stream=True,
            # _get follows redirects, so that each is checked and none gets credentials.
            allow_redirects=False,
        )

    def _begin(self, response: requests.Response, *, resumed: bool) -> int | None:
        """Check the head of a response; return the length of the whole body, if known."""
        kind = response.headers.get("Content-Type", "")
        length = response.headers.get("Content-Length")
        match response.status_code:
            case 200 if any(word in kind.lower() for word in NO_EXPORT):
                raise TransientError(
                    f"could not {self._what}: the response is not the file ({kind[:40]!r})"
                )
            case 200:
                self._restart(response)
                if self._has_certain_end(response) and length is None:
                    return None
                self._total = _whole_number(length)
                if self._total is None:
                    raise TransientError(f"could not {self._what}: its length is not a number")
                self._check_size(self._total)
                return self._total
            case 206:
                self._has_certain_end(response)
                if resumed and self._continues(response):
                    return self._total
                self.received = 0
                raise TransientError(
                    f"could not {self._what}: the response is another part of the file"
                )
            case 403:
                raise LinkExpiredError(f"could not {self._what}: the link has expired")
            case 404 | 416:
                self.received = 0
                raise TransientError(
                    f"could not {self._what}: object storage answered {response.status_code}"
                )
            case status if status in TRANSIENT_STATUSES:
                raise TransientError(
                    f"could not {self._what}: object storage answered {status}",
                    retry_after(response.headers),
                )
            case status:
                raise ServiceError(
                    f"could not {self._what}: object storage answered {status}; if the error "
                    "persists, ask Barchart's support"
                )

    def _restart(self, response: requests.Response) -> None:
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in {"identity", "", "gzip", "x-gzip"}:
            raise ServiceError(
                f"could not {self._what}: the file has the content encoding {encoding[:20]!r}, "
                "which was not requested; ask Barchart's support"
            )
        self._encoding = encoding
        etag = response.headers.get("ETag", "")
        self._etag = etag if etag.startswith('"') else None
        self._inflate = zlib.decompressobj(GZIP) if "gzip" in encoding else None
        self._total = None
        self.received = self._inflated = self._written = 0

    def _continues(self, response: requests.Response) -> bool:
        """Return whether a part continues the bytes received, and belongs to the same file."""
        # Some proxies ignore If-Range; parts of two files must not become one
        # (RFC 9110, 15.3.7.3).
        span, _, text = response.headers.get("Content-Range", "").partition("/")
        total = _whole_number(text)
        if total is None or self._total not in {None, total}:
            return False
        self._total = total
        return (
            span.startswith(f"bytes {self.received}-")
            and response.headers.get("ETag") == self._etag
            and response.headers.get("Content-Encoding", self._encoding).lower() == self._encoding
        )

    def _has_certain_end(self, response: requests.Response) -> bool:
        """Return whether a body is chunked, and so marks its own end.

        Raises:
            TransientError: The end is uncertain, because there is no length either, or because
                the body has a transfer coding that was not requested (RFC 9112, 6.1 and 6.3).
        """
        # Gzip does not mark the end: another gzip member may follow.
        codings = response.headers.get("Transfer-Encoding")
        if codings and codings.lower() == "chunked" and response.raw.version >= HTTP_1_1:
            return True
        if codings or "Content-Length" not in response.headers:
            raise TransientError(
                f"could not {self._what}: object storage does not give the length of the file, "
                "so the tap could not detect a missing end; exclude object storage from the proxy"
            )
        return False

    def _check_size(self, size: int) -> None:
        if size > MAX_FILE_BYTES:
            raise FileError(
                f"could not {self._what}: the file has over {MAX_FILE_BYTES:,} bytes, more than is "
                "read as one file; lower window_hours"
            )

    def _chunks(self, response: requests.Response, transfer: Transfer) -> Iterator[bytes]:
        # read1 returns the bytes that have arrived: a slow transfer differs from a stopped one.
        read = partial(response.raw.read1, CHUNK, decode_content=False)
        while True:
            chunk = without_url(read, self._what, "object storage")
            if self._stopped.is_set():
                raise SyncStopped
            if not chunk:
                return
            transfer.moved(len(chunk))
            yield chunk

    def _plain(self, chunk: bytes) -> Iterator[bytes]:
        if not self._inflate:
            yield chunk
            return
        allowed = max(INFLATED_AT_LEAST, INFLATED_RATIO * (self.received + len(chunk)))
        while chunk:
            if self._inflate.eof:
                # gzip files may follow one another, and zero bytes may follow each
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    return
                self._inflate = zlib.decompressobj(GZIP)
            try:
                piece = self._inflate.decompress(chunk, CHUNK)
            except zlib.error:
                self.received = 0
                raise TransientError(f"could not {self._what}: its compression is broken") from None
            chunk = self._inflate.unconsumed_tail or self._inflate.unused_data
            self._inflated += len(piece)
            if self._inflated > allowed:
                raise FileError(
                    f"could not {self._what}: the file inflates to over {allowed:,} bytes, more "
                    "than any export; ask Barchart's support"
                )
            yield piece

    def _check(self, total: int | None) -> None:
        if total is not None and self.received != total:
            raise TransientError(
                f"could not {self._what}: received {self.received:,} of {total:,} bytes"
            )
        if self._inflate and not self._inflate.eof:
            self.received = 0
            raise TransientError(f"could not {self._what}: its compression is cut short")


def _whole_number(text: str | None) -> int | None:
    """Return a number of bytes; none if the text is not a number, or is too long to be one."""
    text = (text or "").strip()  # white space around a header's value does not belong to it
    return int(text) if text.isdecimal() and len(text) < MAX_DIGITS else None

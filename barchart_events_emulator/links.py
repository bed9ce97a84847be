"""Download links: signed, valid for a limited time."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from barchart_events_emulator.jobs import ExportJob


@dataclass(eq=False)
class Link:
    """A download link that was issued to a client."""

    job: ExportJob
    expires: float
    """When it expires (``time.monotonic``)."""

    @property
    def expired(self) -> bool:
        """Whether it has expired."""
        return time.monotonic() >= self.expires


class Links:
    """Signs links and verifies them."""

    def __init__(self, secret: bytes) -> None:
        """Take the secret to sign with."""
        self._secret = secret
        self._given: dict[str, Link] = {}

    def sign(self, path: str, query: str) -> str:
        """Return the signature of a path and its query (without the signature)."""
        return hmac.new(self._secret, f"GET\n{path}\n{query}".encode(), sha256).hexdigest()

    def new(self, job: ExportJob, seconds: float) -> tuple[str, str]:
        """Return path and signed query of a new link to a job's file."""
        path = f"/exports/{job.source}.csv"
        moment = datetime.now(timezone.utc)
        query = (
            "X-Amz-Algorithm=AWS4-HMAC-SHA256"
            f"&X-Amz-Credential=EMULATOR%2F{moment:%Y%m%d}%2Fus-east-1%2Fs3%2Faws4_request"
            f"&X-Amz-Date={moment:%Y%m%dT%H%M%SZ}&X-Amz-Expires={round(seconds)}"
            f"&X-Amz-SignedHeaders=host&x-id={uuid4().hex}"
        )
        signature = self.sign(path, query)
        self._given[signature] = Link(job, time.monotonic() + seconds)
        return path, f"{query}&X-Amz-Signature={signature}"

    def find(self, path: str, query: str) -> Link | None:
        """Return the link, expired or not, or ``None`` if its signature does not verify."""
        signed, _, signature = query.rpartition("&X-Amz-Signature=")
        if not hmac.compare_digest(self.sign(path, signed), signature):
            return None
        return self._given.get(signature)

    def expire(self, job: ExportJob) -> None:
        """Let all links to a job's file expire."""
        for link in self._given.values():
            if link.job is job:
                link.expires = time.monotonic()

"""HTTP sessions that follow nothing, add no credentials of their own, and tell no whole URL."""

from __future__ import annotations

import logging
from importlib.metadata import version

import requests
from requests.adapters import HTTPAdapter

MOST_CONNECTIONS = 100
"""Connections that are kept open; more are closed after use."""

URL_LOGGERS = tuple(
    f"urllib3.{room}"
    for room in ("connection", "connectionpool", "poolmanager", "response", "util.retry")
)
"""Loggers that tell whole URLs, links included; some of them as warnings."""


class Session(requests.Session):
    """A session that is safe for links: whoever holds one can read the file."""

    def __init__(self, connections: int) -> None:
        """Open no connection yet.

        Args:
            connections: How many are kept open, but for ``MOST_CONNECTIONS``.
        """
        super().__init__()
        for name in URL_LOGGERS:
            logging.getLogger(name).addFilter(_drop_record)
        agent = f"tap-barchart-events/{version('tap-barchart-events')}"
        self.headers["User-Agent"] = f"{agent} {self.headers['User-Agent']!s}"
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=min(connections, MOST_CONNECTIONS))
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        # Not None: requests would look for credentials in .netrc.
        self.auth = _no_auth

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Return none: its body would be read to the end, however long, to see where it leads."""
        return None


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _drop_record(_record: logging.LogRecord) -> bool:
    return False

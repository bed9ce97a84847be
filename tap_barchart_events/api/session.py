"""HTTP sessions that follow no redirect, add no credentials, check proxy and certificates."""

from __future__ import annotations

import functools
import ssl
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import requests
from requests.utils import select_proxy
from urllib3.util import parse_url

from tap_barchart_events.api.connection import Adapter
from tap_barchart_events.api.redaction import silence_url_loggers
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.urls import is_loopback

MOST_CONNECTIONS = 100
"""Connections that are kept open; more are closed after use."""


class Session(requests.Session):
    """A session that keeps links secret."""

    def __init__(self, connections: int) -> None:
        """Open no connection yet.

        Args:
            connections: How many are kept open, at most ``MOST_CONNECTIONS``.
        """
        super().__init__()
        silence_url_loggers()
        agent = f"tap-barchart-events/{version('tap-barchart-events')}"
        self.headers["User-Agent"] = f"{agent} {self.headers['User-Agent']!s}"
        adapter = Adapter(min(connections, MOST_CONNECTIONS))
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        # Not None: requests would look for credentials in .netrc.
        self.auth = _no_auth

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: requests would read the body of a redirect to its end, however long."""
        return None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request; one to a loopback host never goes through a proxy.

        Raises:
            SettingError: Proxy or certificates of the environment cannot be used; no retry helps.
        """
        url = request.url or ""
        if is_loopback(url):
            options["proxies"] = {}
        _check_proxy(select_proxy(url, options["proxies"]))
        if url.startswith("https:") and isinstance(options["verify"], str):
            _check_certificates(options["verify"])
        return super().send(request, **options)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _check_proxy(proxy: str | None) -> None:
    """Refuse a proxy that cannot be used; it may hold credentials, so it is not shown."""
    if not proxy:
        return
    try:
        parts = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        scheme, host = parts.scheme or "", parts.host
    except ValueError:
        scheme = host = ""
    if not host:
        reason = "it is no URL; give it as http://host:port"
    elif scheme.startswith("socks") and find_spec("socks") is None:
        reason = "SOCKS needs the package PySocks; install it beside the tap, or use an HTTP proxy"
    elif not scheme.startswith(("http", "socks")):
        reason = "its scheme is not known; give it as http://host:port"
    else:
        return
    raise SettingError(
        "the proxy that the environment sets (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) cannot be "
        f"used: {reason}"
    )


@functools.cache
def _check_certificates(place: str) -> None:
    """Refuse a file or folder of certificates that cannot be used."""
    is_folder = Path(place).is_dir()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cafile=None if is_folder else place, capath=place if is_folder else None
        )
    except (OSError, ValueError) as error:
        raise SettingError(
            f"no certificates can be read from {place!r}, which the environment variable "
            f"REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names ({type(error).__name__}); correct it, or "
            "unset it"
        ) from None

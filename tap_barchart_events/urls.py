"""Which URLs may be called. Depends on neither settings nor links."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_safe(url: str) -> bool:
    """Return whether a URL is https, or http on a loopback host."""
    # A library may read these as the end of the host, but this check as part of it.
    if "\\" in url or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))
    )


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is this machine, reached without a network."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

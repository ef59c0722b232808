"""Addresses in messages."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(?![^/?#])", re.IGNORECASE)
_UNSAFE = re.compile(r"[\s\\\x00-\x1f\x7f<>\"'\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_PORTS = {"http": "80", "https": "443"}


def origin(url: str) -> str | None:
    """Where a web address leads (RFC 6454, 4), as `https://host[:port]`; None for what isn't one, or could be read as
    leading to two places: a name or a password before the host, blanks, backslashes, invisible characters.
    """
    found = None if _UNSAFE.search(url) else _ORIGIN.match(url)
    if found is None:
        return None
    scheme, host, port = found[1].lower(), found[2].lower(), found[3]
    return f"{scheme}://{host}" if port in (None, _PORTS[scheme]) else f"{scheme}://{host}:{port}"

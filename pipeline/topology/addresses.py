"""Addresses in messages."""

from __future__ import annotations

import re


def shown(url: str) -> str:
    """An address as it may be shown: without its password."""
    return re.sub(r"//[^/@]*@", "//***@", url)

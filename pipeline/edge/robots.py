"""Whether a user agent is a known robot's: the list of github.com/monperrus/crawler-user-agents (MIT), as its package
on PyPI has it; the lock file dates it."""

from __future__ import annotations

from functools import lru_cache

import crawleruseragents

LONGEST = 500
"""Characters of an agent that are looked at: all patterns are tried on it, and strangers send it."""


def is_robot(agent: str) -> bool:
    """Of the text of a User-Agent header."""
    return _is_robot(agent[:LONGEST])


@lru_cache(maxsize=10_000)
def _is_robot(agent: str) -> bool:
    return bool(crawleruseragents.is_crawler(agent))

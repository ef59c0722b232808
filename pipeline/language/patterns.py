"""Regular expressions over texts from outside, in time that grows with the text alone (RE2): nobody can keep a worker
busy with one event.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import re2

LONGEST = 1_000
"""Characters of an expression."""
_MEMORY = 1 << 20
"""Bytes that one expression may take: what needs more is refused, at load."""


def problem(pattern: str) -> str:
    """What is wrong with an expression; nothing: it can be used."""
    if len(pattern) > LONGEST:
        return f"it has more than {LONGEST} characters"
    try:
        _compiled(pattern, False)
    except re2.error as error:
        said = error.args[0]
        return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    except UnicodeEncodeError:
        return "half a character in it"
    return ""


def finder(pattern: str, ignoring_case: bool) -> Callable[[str], bool]:
    """Whether it is found in a text. Raises re2.error for what has a `problem`."""
    search = _compiled(pattern, ignoring_case).search

    def found(text: str) -> bool:
        try:
            return search(text) is not None
        except UnicodeEncodeError:  # half a character
            return False

    return found


@lru_cache(1_000)
def _compiled(pattern: str, ignoring_case: bool) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    options.never_capture = True
    options.case_sensitive = not ignoring_case
    return re2.compile(pattern, options)

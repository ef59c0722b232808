"""What the linter says: where, what, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

from pipeline.grammar.shapes import Severity


class Finding(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong (`error`: can't be used), doubtful (`warning`), or good to know (`note`).

    `line` and `column` count from 1; both are 0 for what isn't in a file (an environment variable).
    `code` is short and stable. `hint` may be empty.
    """

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity} {self.code}: {self.message}{hint}"


def suggest(word: str, known: Iterable[str], label: str = "known") -> str:
    """ "did you mean ...?" when something is close, else the list when it is short."""
    names = list(known)
    letters = sorted(word.lower())
    close = [name for name in names if sorted(name) == letters]  # two of them swapped
    close += difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"{label}: {', '.join(names)}" if 0 < len(names) <= 24 else ""

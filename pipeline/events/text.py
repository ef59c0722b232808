"""Text as people and broken clients write it: blanks, quotes, and words that stand for nothing."""

from __future__ import annotations

import re
from collections.abc import Collection

# What str.strip() takes for white space, and characters without a width: https://www.unicode.org/charts/PDF/U2000.pdf
INVISIBLE = "".join(
    map(chr, (0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF))
)
_EDGES = "".join(chr(c) for c in range(0x3001) if chr(c).isspace()) + INVISIBLE + "\0"
_QUOTES = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb"
_BEFORE = re.compile(f"(?:[{re.escape(_EDGES + _QUOTES)}]|%22)+")
_BEHIND = re.compile(f"(?:[{re.escape(_EDGES + _QUOTES)}]|22%)+")  # of the text backwards
_OUTER = frozenset(_EDGES + _QUOTES + "%")
_LONGEST = 128  # characters: no placeholder is longer, with whatever quotes around it

# Semantics 18: what trackers, templates and languages write where they mean nobody. The topology may say more.
PLACEHOLDERS = frozenset(
    (
        "", "-1", "0", "null", "none", "undefined", "anonymous", "unknown", "nan", "n/a", "false", "true", "guest",
        "nil", "[object object]", "00000000-0000-0000-0000-000000000000",
    )
)  # fmt: skip


def trimmed(value: str) -> str:
    """Without blanks around it."""
    return value.strip(_EDGES)


def unquoted(value: str) -> str:
    """Without blanks and quotes around it, percent-encoded ones too: cookies are told with them."""
    if value and value[0] not in _OUTER and value[-1] not in _OUTER and not value.endswith("%22"):  # nearly all
        return value
    value = value[_end(_BEFORE, value) :]
    return value[: len(value) - _end(_BEHIND, value[::-1])]


def _end(around: re.Pattern[str], value: str) -> int:
    found = around.match(value)
    return 0 if found is None else found.end()


def stands_for_nothing(value: str, blocked: Collection[str] = PLACEHOLDERS) -> bool:
    """Whether a key or identifier is one of the words that mean none, in any case of letters, in quotes or not."""
    return (len(value) <= _LONGEST and unquoted(value).lower() in blocked) or not trimmed(value)

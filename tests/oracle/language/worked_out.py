"""What the oracle works out of a generated history, once in a run: it takes long, and several tests ask for it."""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any

from tests.oracle.language.histories import made
from tests.oracle.language.oracle import decisions

Line = dict[str, Any]


def worked_out(seed: int, kind: str) -> tuple[list[Line], list[Line]]:
    """`decisions(*made(seed, kind))`, the caller's own."""
    found: tuple[list[Line], list[Line]] = pickle.loads(_packed(seed, kind))
    return found


@cache
def _packed(seed: int, kind: str) -> bytes:
    return pickle.dumps(decisions(*made(seed, kind)))

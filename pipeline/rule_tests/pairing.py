"""Which of what was expected happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Wanted = TypeVar("Wanted")
Told = TypeVar("Told")


def unpaired(
    wanted: Iterable[Wanted], told: Iterable[Told], misses: Callable[[Wanted, Told], object]
) -> tuple[list[Wanted], list[Told]]:
    """(what nothing meets, what meets nothing): each takes the first that `misses` nothing of it."""
    left = list(told)
    missing: list[Wanted] = []
    for expected in wanted:
        found = next((n for n, each in enumerate(left) if not misses(expected, each)), None)
        if found is None:
            missing.append(expected)
        else:
            del left[found]
    return missing, left

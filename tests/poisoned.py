"""`pipeline` with a mistake of ours in it: python -m tests.poisoned worker ...

Events whose id begins with `poison` make the fold of their person raise.
"""

from __future__ import annotations

from typing import Any

from pipeline.cli import main as pipeline
from pipeline.profile import profile

_learn = profile.learn  # type: ignore[attr-defined]


def _poisoned(book: Any, person: Any, row: Any, out: list[Any]) -> None:
    if row.event_id.startswith("poison"):
        raise ZeroDivisionError("a mistake")
    _learn(book, person, row, out)


if __name__ == "__main__":
    profile.learn = _poisoned  # type: ignore[attr-defined]
    pipeline()

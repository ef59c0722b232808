from collections.abc import Callable, Collection, Sequence
from typing import Any

from pipeline.events.model import Event

class Unusual(Exception): ...

class Open:
    root: str
    ids: list[str]
    @property
    def type(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def occurred_at(self) -> int: ...
    @property
    def received_at(self) -> int: ...
    def packed(self) -> bytes: ...

class Reader:
    def __init__(
        self,
        name: str,
        schema: dict[str, Any],
        skip: int,
        wanted: Collection[str] | None = None,
        handed: Collection[str] = (),
        longest: int = 0,
    ) -> None: ...
    def read(self, value: bytes, trace: str | None) -> Event: ...

class Writer:
    def __init__(self, schema: dict[str, Any]) -> None: ...
    def write(self, head: bytes, values: list[Any]) -> bytes: ...

def bind(known: type) -> None: ...
def deal(rows: Sequence[Any], places: list[int], to: list[list[Any]], other: Callable[[Any], None]) -> None: ...
def take(
    records: Sequence[Any],
    readers: dict[int, Reader],
    known: dict[str, dict[str, Any]],
    identify: Callable[[dict[str, str]], list[Any]],
    with_implied: Callable[[list[Any]], list[Any]],
    trace_of: Callable[[Any], str | None],
    slow: Callable[[Any, int], int],
    high: int,
    disorder: int,
    ahead: int,
    rows: list[Any],
    partitions: list[int],
    kinds: list[str],
    late: list[str],
    asked: list[Any],
) -> int: ...

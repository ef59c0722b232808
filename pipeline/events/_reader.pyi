from collections.abc import Callable, Collection, Iterable, Sequence
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
    def event(self, head: bytes, event: Event) -> bytes: ...

Note = Callable[[str, str], None]
Row = tuple[str, tuple[str, ...], type | None, Callable[[object, str, Note], Any], bool, Rows | None]
Settle = Callable[[dict[str, Any], Callable[[], bool]], tuple[str, dict[str, Any]]]

class Names:
    def __init__(self, names: Iterable[str], odd: Callable[[str], bool]) -> None: ...

class Rows:
    def __init__(self, names: Names, rows: Iterable[Row]) -> None: ...

class Plan:
    def __init__(
        self,
        type: str,
        part: str,
        *,
        elsewhere: bool = False,
        rows: Rows | None = None,
        around: str | None = None,
        fixed: Iterable[tuple[str, str]] = (),
        texts: str | None = None,
        called: str | None = None,
        title: tuple[str, str] | None = None,
        first: bool = False,
        settle: Settle | None = None,
        settled: str | None = None,
    ) -> None: ...

class Calls:
    def __init__(
        self,
        *,
        names: Names,
        around: Names,
        fields: tuple[str, ...],
        plans: dict[str, Plan | None],
        meet: Callable[[str], Plan | None],
        whose: Iterable[tuple[str, tuple[str, ...], Names | None]],
        envelope: Iterable[tuple[str, tuple[tuple[str | None, tuple[str, ...]], ...]]],
        beyond: Iterable[str],
        envelope_of: Callable[[dict[str, Any]], dict[str, Any] | None],
        as_text: Callable[[object], str | None],
        read_time: Callable[[object], tuple[int, str] | None],
        iso: str,
    ) -> None: ...
    def read(self, told: object, received_now: int | None) -> Event | None: ...

Way = tuple[str, bytes, Writer]

class Sealing:
    def __init__(
        self,
        calls: Calls,
        meet: Callable[[str], Way | None],
        record: type,
        *,
        keyed_by: Iterable[str],
        blocked: Collection[str],
        key_of: Callable[[Event], bytes | None],
        allowed: Collection[str] | None,
        purpose: str | None,
        known_better: Iterable[str],
        unproven: str | None,
        judged: tuple[str, Callable[[str], bool], str],
    ) -> None: ...
    def seal(
        self,
        items: list[object],
        now: int,
        seen: Collection[tuple[str, str]],
        call_of: Callable[[Any], Any] | None,
        events: list[Event],
        records: list[Any],
        slow: Callable[[int, object], None],
    ) -> None: ...

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

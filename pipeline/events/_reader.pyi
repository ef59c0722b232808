from collections.abc import Collection
from typing import Any

import msgspec

from pipeline.events.model import Event

class Unusual(Exception): ...

class Routed:
    @property
    def root(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def told_at(self) -> int: ...
    @property
    def received_at(self) -> int: ...
    @property
    def raw(self) -> msgspec.Raw: ...

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
    def row(
        self, value: bytes, trace: str | None, offset: int, floor: int, latest: int, known: dict[tuple[str, str], Any]
    ) -> Routed: ...

from collections.abc import Collection
from typing import Any

from pipeline.events.model import Event

class Unusual(Exception): ...

class Reader:
    def __init__(self, name: str, schema: dict[str, Any], skip: int, wanted: Collection[str] | None = None) -> None: ...
    def read(self, value: bytes, trace: str | None) -> Event: ...

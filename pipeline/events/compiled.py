"""The compiled decoder (`_reader.pyx`), where it was built: a small part of fastavro's time. Where not, there is none.

It only knows the good case; see there. All that it reads, and all that it doesn't, fastavro reads too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from pipeline.events.model import Event

try:
    from pipeline.events._reader import Reader
except ImportError:  # no compiler when this was installed: hatch_build.py said so then
    READER: type[Reader] | None = None
else:
    READER = Reader


def compile_reader(
    name: str, schema: dict[str, Any], skip: int, wanted: Collection[str] | None = None
) -> Callable[[bytes, str | None], Event] | None:
    """A function (value, trace) -> Event for records of `schema`, which start `skip` bytes into the value.

    `wanted`: the body's fields that are read. Others, and the context, are stepped over: lengths count there, and
    what lies between them isn't looked at. None: all are read. `schema` is one of ours without logical types. The
    function raises anything for what it doesn't read.
    """
    return None if READER is None else READER(name, schema, skip, wanted).read

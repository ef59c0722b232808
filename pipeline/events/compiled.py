"""What reads and writes Avro compiled (`_reader.pyx`), where it was built: in a small part of fastavro's time.

It only knows the good case; see there. All that it reads or writes, and all that it doesn't, fastavro does too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any


def fitting(module: ModuleType) -> None:
    """Raises ImportError, and warns, if what lies beside a compiled module isn't what it was made from: the one may
    count on what the other no longer does. (Where nothing lies beside it, both came together.)
    """
    # As hatch_build.py does, which can't be asked: it is no part of an installation.
    sources = sorted(path for path in Path(module.__file__ or "").parent.glob("_*") if path.suffix in (".pyx", ".pxi"))
    digest = int.from_bytes(sha256(b"".join(path.read_bytes() for path in sources)).digest()[:7], "big")
    if sources and getattr(module, "made_from", None) != digest:
        why = f"{module.__file__} was compiled from other sources than are here, and is left out: install again (make)"
        warnings.warn(why, RuntimeWarning, stacklevel=2)
        raise ImportError(why)


def plain_deal(rows: Sequence[Any], places: list[int], to: list[list[Any]], other: Callable[[Any], None]) -> None:
    """Each row goes to the list of its place. `other` is called for those that have none (-1), in their turn."""
    for row, place in zip(rows, places, strict=True):
        if place >= 0:
            to[place].append(row)
        else:
            other(row)


if TYPE_CHECKING:
    from pipeline.events._reader import Calls as Calls
    from pipeline.events._reader import Names as Names
    from pipeline.events._reader import Open as Open
    from pipeline.events._reader import Plan as Plan
    from pipeline.events._reader import Reader as Reader
    from pipeline.events._reader import Rows as Rows
    from pipeline.events._reader import Sealing as Sealing
    from pipeline.events._reader import Writer as Writer
    from pipeline.events._reader import bind as _bind
    from pipeline.events._reader import deal as deal
    from pipeline.events._reader import take as _take

    READER: type[Reader] | None = Reader
    WRITER: type[Writer] | None = Writer
    TAKE: Callable[..., int] | None = _take
    BIND: Callable[[type], None] | None = _bind
    CALLS: type[Calls] | None = Calls
else:
    try:
        from pipeline.events import _reader
        from pipeline.events._reader import Calls, Names, Open, Plan, Reader, Rows, Sealing, Writer, deal
        from pipeline.events._reader import bind as BIND
        from pipeline.events._reader import take as TAKE

        fitting(_reader)
        READER, WRITER, CALLS = Reader, Writer, Calls
    except ImportError:  # no compiler when this was installed, or changed since: hatch_build.py or `fitting` said so
        READER = Reader = WRITER = Writer = TAKE = BIND = CALLS = Calls = Names = Plan = Rows = Sealing = None
        deal = plain_deal

        class Open:
            """Nobody makes one."""


def compile_reader(
    name: str,
    schema: dict[str, Any],
    skip: int,
    wanted: Collection[str] | None = None,
    handed: Collection[str] = (),
    longest: int = 0,
) -> Reader | None:
    """What reads records of `schema`, which start `skip` bytes into the value: `read` makes an Event of one, or raises
    anything; TAKE makes packed rows of a batch.

    `wanted`: the body's fields that are read. Others, and the context, are stepped over: lengths count there, and
    what lies between them isn't looked at. None: all are read. `schema` is one of ours without logical types.
    `handed`: the fields that go into a row; `longest`: bytes of a record that TAKE reads.
    """
    return None if READER is None else READER(name, schema, skip, wanted, handed, longest)

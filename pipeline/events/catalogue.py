"""What is known of each event type, from its `.avsc` alone: a new one is that file, and a line a vocabulary.

"pipeline": {               of the record
  "code": 5,                its number on timelines: never that of another, also when a type is gone
  "stream": "clickstream",  which source topic takes it
  "own": false,             it is nothing that the person did (`own_doing`); else it may be
  "label": ["sku", "name"], the body fields that may name it on a timeline, the first one that is there
  "reads": ["price"],       other body fields that a profile reads
  "parts": {"cart": "put"}  what parts of a profile do with it: `PARTS`
}
"form": "key"               of a body field: in which form its value counts, see tidy.py; else as it was told
"keeps": "lines"            of `products`: what is kept of each, all that a cart's line has, or what it is called
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec

from pipeline.events import schemas

STREAMS = ("clickstream", "email", "video", "offline")
FORMS = frozenset({"trimmed", "key", "lower", "upper", "positive", "soft"})
STATUSES = ("sent", "delivered", "opened", "clicked", "bounced", "complained", "unsubscribed")
PARTS: Mapping[str, tuple[str, ...]] = {
    "cart": ("put", "take", "set"),  # into it, out of it, or all that it holds from now on
    "film": ("playing", "standing"),
    "message": STATUSES,
    "order": ("placed",),
    "page": ("viewed",),
    "product": ("viewed",),
    "traits": ("told",),
}
OWN = ("channel", "confidence")  # the body fields by which `own_doing` goes
GAP = 30 * 60_000  # ms without anything of a person's own doing, after which a visit begins
MOST = 64  # types, and
LABELS = 3  # labels of one: what the compiled counter has room for


class EventType(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one event type; see above. `forms`: body field -> form. `keeps`: of its `products`."""

    code: int
    stream: str
    own: bool = True
    label: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    parts: dict[str, str] = {}
    forms: dict[str, str] = {}
    keeps: str = "names"


@cache
def catalogue() -> Mapping[str, EventType]:
    """All that are as they should be, by name, in order of their codes."""
    return _read()[0]


def problems() -> list[tuple[Path, str]]:
    """(file, what is wrong and what to do) of the others. Their events would be read, and then not counted."""
    return _read()[1]


def doing(part: str) -> dict[str, str]:
    """Event type -> what a part does with it, of those that are something to it."""
    return {name: each.parts[part] for name, each in catalogue().items() if part in each.parts}


def own_doing(name: str, body: Mapping[str, Any]) -> bool:
    """Whether an event is something that the person did: not what is done to them, what software does in their name,
    nor what a server tells. `body`: `OWN` of it, at least.
    """
    return catalogue()[name].own and body.get("confidence") != "machine" and body.get("channel") != "server"


def own_test(name: str) -> Callable[[Mapping[str, Any]], bool] | None:
    """The same of one type's events, by their bodies; None: each is."""
    told = any(field in OWN for field in schemas.body_fields(name))
    return partial(own_doing, name) if told or not catalogue()[name].own else None


def stream_of(name: str) -> str:
    """Which recorded stream (`Topic.stream`) an event belongs to."""
    return catalogue()[name].stream


@cache
def _read() -> tuple[dict[str, EventType], list[tuple[Path, str]]]:
    types: dict[str, EventType] = {}
    wrong: list[tuple[Path, str]] = []
    codes: dict[int, str] = {}
    for name in schemas.names():
        try:
            found = _type(schemas.annotated(name))
            other = codes.setdefault(found.code, name)
            if other != name:
                free = next(code for code in range(MOST + 1) if code not in codes)
                raise ValueError(f"its code, {found.code}, is that of {other}: take {free}, if that was never used")
        except (msgspec.ValidationError, KeyError, ValueError) as problem:
            said = f"no `{problem.args[0]}` in it" if isinstance(problem, KeyError) else str(problem)
            wrong.append((schemas.path(name), f"the event type {name} can't be counted: {said}"))
        else:
            types[name] = found
    return dict(sorted(types.items(), key=lambda item: item[1].code)), wrong


def _type(file: Any) -> EventType:
    """Raises msgspec.ValidationError, KeyError, ValueError."""
    body = {field["name"]: field for field in file["fields"][-1]["type"]["fields"]}
    forms = {name: field["form"] for name, field in body.items() if "form" in field}
    keeps = body.get("products", {}).get("keeps", "names")
    found = msgspec.convert({**file["pipeline"], "forms": forms, "keeps": keeps}, EventType)
    told: list[tuple[str, Any, Any]] = [
        ("stream", found.stream, STREAMS),
        ("keeps", keeps, ("lines", "names")),
        *((f"form of {name}", form, FORMS) for name, form in forms.items()),
        *(("label", name, body) for name in found.label),
        *(("reads", name, body) for name in found.reads),
        *(("parts", part, PARTS) for part in found.parts),
        *((f"parts: {part}", what, PARTS[part]) for part, what in found.parts.items() if part in PARTS),
    ]
    for where, value, known in told:
        if value not in known:
            raise ValueError(f"{where}: {value!r} is none of {', '.join(sorted(known))}")
    if not 0 <= found.code < MOST:
        raise ValueError(f"code: {found.code}, and the compiled counter has room for 0 to {MOST - 1}")
    if len(found.label) > LABELS:
        raise ValueError(f"label: {len(found.label)} fields, and the compiled counter has room for {LABELS}")
    return found

"""What was told on arrival, before the fold came to it (docs/semantics.md, 38).

The fold decides such a wait like any other. What was told counts, whatever the fold makes of it then: under its id
nothing is said again, and what comes later looks back at what was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.triggers.decisions import Decision
from pipeline.triggers.facts import Fact
from pipeline.triggers.happening import known_as

KEPT = 500
"""Of a profile; what is beyond that is told when the fold comes to it."""


class Telling(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A decision that was told. `key` empty: none. Times in UTC ms; `mark`: its cause's fingerprint. `at`: the fold has
    come to it when it is past that. `spent`: it has, by another start that stands for this one.
    """

    id: str
    rule: str
    key: str
    outcome: str
    reason: str
    cause_event_id: str
    mark: int
    occurred_at: int
    due: int
    at: int
    published: bool = True
    detail: str = ""
    spent: bool = False

    def of(self, decision: Decision, cause: Fact) -> tuple[Decision, Fact]:
        """What the fold made of it, as it was told."""
        told = msgspec.structs.replace(
            decision,
            id=self.id,
            outcome=self.outcome,
            reason=self.reason,
            detail=self.detail,
            cause_event_id=self.cause_event_id,
            occurred_at=self.occurred_at,
            due_at=self.due,
        )
        same = (self.cause_event_id, self.mark) == (known_as(cause.event_id), cause.fingerprint)
        return told, cause if same else msgspec.structs.replace(
            cause, event_id=self.cause_event_id, fingerprint=self.mark
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Telling]).decode


class Early:
    """All that was told of a profile. `told`: the id under which the fold decides it -> what was told. `reached`: ids
    of those to which the fold has come, `passed`: under which ids; `marks`: id -> the cause's fingerprint, of what else
    it decided meanwhile. (Not of what time alone started, or what isn't told yet: before that something may have come
    that hasn't been read.)
    """

    def __init__(self, told: dict[str, Telling]) -> None:
        self.told = told
        self.reached: set[str] = set()
        self.passed: set[str] = set()
        self.marks: dict[str, int] = {}

    def find(self, decision: Decision, cause: Fact, *, follows: bool) -> Telling | None:
        """What was told of what the fold decides now. `follows`: its cause is a decision."""
        found = self.told.get(decision.id)
        if found is not None:
            if found.id in self.reached:
                found = msgspec.structs.replace(found, spent=True)
            self.reached.add(found.id)
            self.passed.add(decision.id)
        elif cause.event_id in self.marks or cause.event_id in self.reached if follows else not cause.timed:
            self.marks[decision.id] = cause.fingerprint
        return found

    def left(self, upto: int) -> dict[str, Telling]:
        """What the fold may still come to, when it has come to `upto`."""
        return {
            name: msgspec.structs.replace(each, spent=True) if each.id in self.reached else each
            for name, each in self.told.items()
            if each.at >= upto and name not in self.passed
        }

    def missed(self, upto: int) -> list[Telling]:
        """Of what was told, what the fold didn't come to, though it has come to `upto`."""
        every = {each.id: each for each in self.told.values() if each.at < upto and each.id not in self.reached}
        return sorted((each for each in every.values() if not each.spent), key=lambda each: (each.at, each.id))


def unpack(packed: bytes) -> dict[str, Telling]:
    """What `pack` made of it."""
    return _decode(packed) if packed else {}


def pack(told: dict[str, Telling]) -> bytes:
    """Nothing where nothing was told."""
    return _encode(told) if told else b""


def joined(some: bytes, others: bytes) -> bytes:
    """Of two profiles that become one."""
    if not some or not others:
        return some or others
    mine = unpack(some)
    return pack({**mine, **unpack(others), **{name: each for name, each in mine.items() if each.spent}})


def note(early: Early, decisions: Iterable[Decision], upto: int, single: Mapping[str, bool]) -> list[Decision]:
    """Of what is decided by what is known up to `upto`, what is to be told now. The rest was told, of the same rule and
    key, under another cause that had been read before. `single`: see RuleBook.
    """
    missed, out = early.missed(upto), []
    for decision in decisions:
        if (of := early.marks.get(decision.id)) is None:
            continue
        key = decision.correlation_key or ""
        for each in missed:
            same = (each.rule, each.key) == (decision.rule, key) and each.at >= decision.decided_at
            if same and each.rule in single and (each.outcome == "fired" or single[each.rule]):
                missed.remove(each)
                early.told[decision.id] = each
                break
        else:
            if len(early.told) < KEPT:
                early.told[decision.id] = Telling(
                    decision.id,
                    decision.rule,
                    key,
                    decision.outcome,
                    decision.reason,
                    decision.cause_event_id,
                    of,
                    decision.occurred_at,
                    decision.due_at,
                    decision.decided_at,
                    decision.published,
                    decision.detail,
                )
                out.append(decision)
    return out

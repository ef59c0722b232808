"""What is decided on arrival is told when the record has been read, long before the fold may come to it: worked out in
a copy, which takes all that waits in the buffer as if nothing else were to come (docs/semantics.md, 38).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pipeline.profile.profile import Profile, advance, decode, encode_profile
from pipeline.triggers import early
from pipeline.triggers.changes import Output
from pipeline.triggers.decisions import Decision
from pipeline.triggers.early import Early
from pipeline.triggers.rules import RuleBook

LATER = ("retracted", "recovered")


def told_now(
    book: RuleBook, profile: Profile, clock: int, quiet: Callable[[Decision], bool] | None = None
) -> list[Decision]:
    """What is to be told at once of a profile that has taken something in; it remembers that. `clock`: everything
    before it is certain, and for the fold to tell. `quiet`: whether a trigger will not be published.
    """
    profile.arrived = False
    if not (rows := profile.buffer):
        return []
    upto = rows[-1].received_at + 1
    if upto <= clock and not profile.packed_early:
        return []
    copy = decode(encode_profile(profile))
    assert isinstance(copy, Profile)
    known = Early(early.unpack(profile.packed_early))
    with book.balance.aside():
        made = list(_on_arrival(advance(book, copy, upto, quiet, known)))
    for decision in made:
        decision.published = quiet is None or not quiet(decision)
    told = early.note(known, made, upto, book.single)
    profile.packed_early = early.pack(known.told)
    return told


def _on_arrival(made: Iterable[Output]) -> Iterator[Decision]:
    for each in made:
        if isinstance(each, Decision) and each.basis == "arrival" and each.outcome not in LATER:
            yield each

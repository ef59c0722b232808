"""Whether a trigger helped: an end that comes after it is its success, where the rule asks for that (docs/waits.md,
What came of a trigger). A key keeps its last triggers for that, while a success of theirs may be told.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.language import carts
from pipeline.triggers.facts import End, Fired, Key
from pipeline.triggers.rules import Compiled

CREDITS_KEPT = 8
SPENT = -1


def credit(key: Key, fired: Fired) -> None:
    """A trigger has fired of which a success may be told."""
    key.credits = [*key.credits, fired][-CREDITS_KEPT:]


def recovers(rule: Compiled, key: Key, end: End) -> Fired | None:
    """The trigger of which this end is the success: the last that was decided by then, if it has none yet and wasn't
    taken back.
    """
    if end.reason not in rule.by:
        return None
    last = max(
        (each for each in key.credits if each.decided < end.occurred_at), key=lambda each: each.order, default=None
    )
    if last is None or end.occurred_at > last.until or (end.asks and not end.applies(last.kept)):
        return None
    if end.takes is not None and not (last.lines and all(carts.holds(end.takes, names) for names in last.lines)):
        return None
    spend(key, [last])
    return last


def spend(key: Key, fired: Iterable[Fired]) -> None:
    """These have no success any more."""
    digests = {each.digest for each in fired}
    key.credits = [
        msgspec.structs.replace(each, until=SPENT) if each.digest in digests else each for each in key.credits
    ]


def joined(a: Key, b: Key) -> list[Fired]:
    """Of both; what one side knows to be spent is."""
    if not a.credits or not b.credits:
        return a.credits or b.credits
    found = {each.digest: each for each in sorted([*a.credits, *b.credits], key=lambda each: -each.until)}
    return sorted(found.values(), key=lambda each: each.order)[-CREDITS_KEPT:]


def forget(rule: Compiled, key: Key, horizon: int) -> None:
    """Those of which none can be told any more go."""
    if key.credits:
        key.credits = [each for each in key.credits if each.due + rule.within >= horizon]

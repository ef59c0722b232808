"""What became of each message to a person: when each status was reached first. A scanner is nobody: what software did
with a message isn't its status.
"""

from __future__ import annotations

from pipeline.events.catalogue import STATUSES, doing
from pipeline.events.times import rfc3339
from pipeline.profile.parts.part import Facts, Part
from pipeline.profile.parts.primitives import EarliestOfEach

MESSAGES_KEPT = 20
_SLOTS = {name: STATUSES.index(status) for name, status in doing("message").items()}


def show(messages: dict[str, list[int]]) -> Facts:
    """The one that was heard of last comes last."""
    found = []
    for message, times in sorted(messages.items(), key=lambda m: (max(m[1]), m[0])):
        reached = {status: rfc3339(second * 1000) for status, second in zip(STATUSES, times, strict=True) if second}
        found.append({"message_id": message, "status": list(reached)[-1] if reached else None, **reached})
    return {"messages": found}


PART = Part(
    "messages",
    {("messages",): EarliestOfEach("message_id", _SLOTS, len(STATUSES), ("confidence", "machine"), MESSAGES_KEPT)},
    show,
)

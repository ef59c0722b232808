"""Who did it: semantics 18 to 21, for the oracle. Shares no code with `pipeline`.

Reads one partition's log in its order and says of each event whom it counts for and which identifiers it ties.
When a tie takes effect is not decided here (that is its `received_at`, semantics 21).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Identifier = tuple[str, str]
"""(namespace, normalised value)"""

PRIORITY = ("user_id", "crm_id", "email", "device_id", "anonymous_id")
DEVICES = ("device_id", "anonymous_id")
LIMITS = {"email": 10, "anonymous_id": 100}
ZERO_UUID = "00000000-0000-0000-0000-000000000000"
BLOCKED = frozenset(
    ["", "-1", "0", "null", "none", "undefined", "anonymous", "unknown", "nan", "n/a", ZERO_UUID],
)


@dataclass(frozen=True, eq=False)
class Fact:
    """One event as the second hop sees it. Times in ms; `received_at` is the effective one (semantics 3)."""

    type: str
    event_id: str
    occurred_at: int
    received_at: int
    body: dict[str, Any]
    carried: tuple[Identifier, ...]
    person: Identifier
    ties: tuple[Identifier, ...]

    @property
    def knowledge(self) -> tuple[int, int, str, tuple[Identifier, ...]]:
        """Semantics 2: knowledge grows in this order. (What was carried only makes the order total.)"""
        return self.received_at, self.occurred_at, self.event_id, self.carried

    @property
    def event_time(self) -> tuple[int, int, str, tuple[Identifier, ...]]:
        """The order in which things happened; things of one millisecond in the order of knowledge."""
        return self.occurred_at, self.received_at, self.event_id, self.carried

    def get(self, field: str) -> Any:
        """A field of the body, None when absent."""
        return self.body.get(field)


def usable(identifiers: dict[str, Any]) -> dict[str, str]:
    """Semantics 18: e-mails in lower case and trimmed, blocked values out. Namespaces nobody configured are out too."""
    kept = {}
    for namespace in PRIORITY:
        value = identifiers.get(namespace)
        if value is None:
            continue
        value = str(value).strip()
        if namespace == "email":
            value = value.lower()
        if value.lower() not in BLOCKED:
            kept[namespace] = value
    return kept


class Groups:
    """Identifiers joined to people: a plain partition into sets."""

    def __init__(self) -> None:
        self._group: dict[Identifier, set[Identifier]] = {}

    def of(self, one: Identifier) -> set[Identifier]:
        """Everybody in `one`'s group, itself included."""
        return self._group.setdefault(one, {one})

    def join(self, one: Identifier, other: Identifier) -> None:
        """From now on `one` and `other` are one person."""
        joined = self.of(one) | self.of(other)
        for member in joined:
            self._group[member] = joined

    def may_join(self, one: Identifier, other: Identifier) -> bool:
        """Semantics 18: never two user ids in one person, never more e-mails or anonymous ids than the limit."""
        if other in self.of(one):
            return True
        counts: dict[str, int] = {}
        for namespace, _ in self.of(one) | self.of(other):
            counts[namespace] = counts.get(namespace, 0) + 1
        return counts.get("user_id", 0) <= 1 and all(counts.get(ns, 0) <= most for ns, most in LIMITS.items())

    def user_of(self, one: Identifier) -> str | None:
        """The user id of `one`'s person, if it has one."""
        return next((value for namespace, value in self.of(one) if namespace == "user_id"), None)


class Logins:
    """Semantics 19 and 20: who logged in on which device, and when, as far as the log was read."""

    def __init__(self) -> None:
        self._logins: dict[Identifier, list[tuple[int, int, str]]] = {}

    def note(self, device: Identifier, occurred_at: int, user: str) -> None:
        """`user` logged in on `device`. What was theirs already stays theirs: such a login says nothing, and if an
        earlier one of somebody else arrives later, it isn't remembered (20: the order of arrival may matter)."""
        known = self._logins.setdefault(device, [])
        if self._last_before(device, occurred_at) != user:
            known.append((occurred_at, len(known), user))
            if {name for _, _, name in known} == {user}:
                self._logins[device] = [min(known)]

    def _last_before(self, device: Identifier, at: int) -> str | None:
        before = [user for occurred_at, _, user in sorted(self._logins.get(device, [])) if occurred_at <= at]
        return before[-1] if before else None

    def owner(self, device: Identifier, at: int, holder: str | None) -> str | None:
        """Semantics 20: the user who had logged in last at `at`; before the first login the one who logs in first.

        `holder` is the user whose person the device is tied to. If that user never logged in on the device itself
        (only an e-mail ties them, say), the device is the holder's until somebody logs in. None: nobody's.
        """
        logins = sorted(self._logins.get(device, []))
        before = [user for occurred_at, _, user in logins if occurred_at <= at]
        if before:
            return before[-1]
        users = [user for _, _, user in logins]
        if holder is not None and holder not in users:
            return holder
        return users[0] if users else None


def read_log(events: Iterable[dict[str, Any]], disorder: int) -> list[Fact]:
    """Semantics 3 and 18 to 22: the facts of one partition, in the order of the log."""
    groups, logins = Groups(), Logins()
    largest: int | None = None
    facts = []
    for event in events:
        largest = event["received_at"] if largest is None else max(largest, event["received_at"])
        received_at = max(event["received_at"], largest - disorder)  # semantics 3: further behind: the watermark
        ids = usable(event["identifiers"])
        if not ids:  # semantics 22: a dead letter
            continue
        carried = tuple(sorted(ids.items()))
        person, ties = attribute(ids, event["occurred_at"], groups, logins)
        facts.append(
            Fact(
                type=event["type"],
                event_id=event["event_id"],
                occurred_at=min(event["occurred_at"], received_at),
                received_at=received_at,
                body=event["body"],
                carried=carried,
                person=person,
                ties=ties,
            )
        )
    return facts


def attribute(
    carried: dict[str, str], occurred_at: int, groups: Groups, logins: Logins
) -> tuple[Identifier, tuple[Identifier, ...]]:
    """Semantics 18 to 20: whom an event counts for (its strongest identifier), and what that is tied to.

    Changes `groups` and `logins` as this event does.
    """
    ids = on_behalf_of_owner(carried, occurred_at, groups, logins)
    ordered = [(namespace, ids[namespace]) for namespace in PRIORITY if namespace in ids]
    anchor, others = ordered[0], ordered[1:]
    groups.of(anchor)
    ties = []
    for other in others:
        if groups.may_join(anchor, other):  # else only this one is left out (semantics 20, last sentence)
            groups.join(anchor, other)
            ties.append(other)
    if "user_id" in carried:
        for namespace in DEVICES:
            if namespace in carried:
                logins.note((namespace, carried[namespace]), occurred_at, carried["user_id"])
    return anchor, tuple(ties)


def on_behalf_of_owner(carried: dict[str, str], occurred_at: int, groups: Groups, logins: Logins) -> dict[str, str]:
    """Semantics 20: on a device that has changed hands, an event without a user id counts as its owner's user id."""
    ids = dict(carried)
    if "user_id" in carried:
        return ids
    for namespace in DEVICES:
        if namespace not in carried:
            continue
        device = (namespace, carried[namespace])
        holder = groups.user_of(device)
        owner = logins.owner(device, occurred_at, holder)
        if owner is not None and owner != holder:
            del ids[namespace]
            ids.setdefault("user_id", owner)
    return ids

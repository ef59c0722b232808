"""Who did it: semantics 18 to 21, for the oracle. Shares no code with `pipeline`.

Reads one partition's log, and says of each event, in the order of knowledge, whom it counts for and which identifiers
it ties. When a tie takes effect is not decided here (that is its `received_at`, semantics 21).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.lines import Item
from tests.oracle.reading import rank, tidied, understood
from tests.oracle.spelling import ADDRESS, identifier, text

Identifier = tuple[str, str]
"""(namespace, normalised value)"""

PRIORITY = ("user_id", "crm_id", "email", "device_id", "anonymous_id")
DEVICES = ("device_id", "anonymous_id")
LIMITS = {"email": 10, "anonymous_id": 100}


@dataclass(frozen=True, eq=False)
class Fact:
    """One event as the second hop sees it, its body tidied. Times in ms; `received_at` is the effective one (3).

    `type` and `items`: what it is to a cart (13). `contact`: what it tells of how to write to the person. `device`:
    the one that it happened on, where it carried nothing else. `again`: a further copy of one that was received (11).
    `told_before`: of an order that had been told (12). `interval`: of a film, what it was counted to add (16).
    """

    type: str
    event_id: str
    occurred_at: int
    received_at: int
    body: dict[str, Any]
    carried: tuple[Identifier, ...]
    person: Identifier
    ties: tuple[Identifier, ...]
    items: tuple[Item, ...]
    contact: dict[str, str]
    device: Identifier | None = None
    again: bool = False
    context: dict[str, Any] = field(default_factory=dict)
    told_before: bool = False
    interval: tuple[float, float] | None = None

    @property
    def logins(self) -> list[tuple[Identifier, str]]:
        """19: (device, user) of each device on which somebody logs in by this event."""
        if self.again:
            return []
        carried = dict(self.carried)
        return [((name, carried[name]), carried["user_id"]) for name in DEVICES if {name, "user_id"} <= carried.keys()]

    @property
    def knowledge(self) -> tuple[int, int, str, tuple[Identifier, ...]]:
        """Semantics 2: knowledge grows in this order. (What was carried only makes the order total.)"""
        return self.received_at, self.occurred_at, self.event_id, self.carried

    @property
    def event_time(self) -> tuple[int, int, int, str, tuple[Identifier, ...]]:
        """2: the order in which things happened; those of one millisecond by what they are, equals in the order of
        knowledge."""
        return self.occurred_at, rank(self.type), self.received_at, self.event_id, self.carried

    def get(self, field: str) -> Any:
        """A field of the body, None when absent."""
        return self.body.get(field)


def usable(identifiers: dict[str, Any]) -> dict[str, str]:
    """Semantics 18: as they are compared; blocked values out. Namespaces nobody configured are out too."""
    read = {namespace: identifier(namespace, identifiers.get(namespace)) for namespace in PRIORITY}
    return {namespace: value for namespace, value in read.items() if value is not None}


def named_by_user_id(carried: dict[str, str]) -> Identifier | None:
    """Semantics 18: the address that a user id names besides."""
    user = carried.get("user_id", "")
    return ("email", user) if ADDRESS.fullmatch(user) else None


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
    """Semantics 19 and 20: who logged in on which device, and when, up to one moment in the order of knowledge."""

    def __init__(self) -> None:
        self._logins: dict[Identifier, list[tuple[int, int, str]]] = {}

    def note(self, device: Identifier, occurred_at: int, user: str) -> None:
        """`user` logged in on `device`. Every event with both is a login, repeats too (20)."""
        known = self._logins.setdefault(device, [])
        known.append((occurred_at, len(known), user))

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
    """Semantics 3 and 18 to 22: the facts of one partition, in the order of knowledge."""
    placed: list[tuple[Any, ...]] = []
    largest: int | None = None
    for event in events:
        largest = event["received_at"] if largest is None else max(largest, event["received_at"])
        received_at = max(event["received_at"], largest - disorder)  # semantics 3: further behind: the watermark
        ids = usable(event["identifiers"])
        if ids:  # semantics 22: else a dead letter
            place = received_at, min(event["occurred_at"], received_at), event["event_id"]
            placed.append((*place, tuple(sorted(ids.items())), len(placed), event))
    groups, logins = Groups(), Logins()
    facts = []
    told: dict[tuple[str, tuple[Identifier, ...]], Identifier] = {}
    for received_at, occurred_at, event_id, carried, _, event in sorted(placed, key=lambda each: each[:5]):
        ids = dict(carried)
        again = (event_id, carried) in told
        devices = [name for name in PRIORITY if name in ids and name in DEVICES]
        if again and len(devices) == len(ids):  # a second copy is the first's owner's, whoever has the device by now
            person, ties = told[event_id, carried], tuple[Identifier, ...]()
        else:
            person, ties = attribute(ids, occurred_at, groups, logins, again=again)
        told.setdefault((event_id, carried), person)
        type_, items = understood(event["type"], event["body"])
        facts.append(
            Fact(
                type=type_,
                event_id=event_id,
                occurred_at=occurred_at,
                received_at=received_at,
                body=tidied(event["body"]),
                carried=carried,
                person=person,
                ties=ties,
                items=items,
                contact=contact_of({**event, "body": tidied(event["body"])}, ids, {person, *ties}),
                device=(devices[0], ids[devices[0]]) if len(devices) == len(ids) else None,
                again=again,
                context=event.get("context") or {},
            )
        )
    return facts


LOOKED_AT = (
    *("product_added", "product_removed", "cart_viewed", "cart_updated", "cart_cleared"),
    *("order_completed", "offline_purchased", "asset_downloaded", "identified"),
    *("email_sent", "email_clicked", "email_bounced", "email_complained", "email_unsubscribed"),
)
"""Types that tell how to write to a person; besides, all of a player's."""


def looked_at(event: dict[str, Any]) -> bool:
    """Does a rule look at it? Of mails and assets only those of the e-book."""
    body, kind = event["body"], event["type"]
    if kind == "email_sent":
        return "ebook" in (body.get("link_ids") or ())
    if kind == "email_clicked":
        return body.get("link_id") == "ebook" and body.get("confidence") != "machine"
    if kind == "asset_downloaded":
        return body.get("asset") == "ebook"
    if kind == "email_bounced":
        return (text(body.get("kind")) or "").lower().replace("bounce", "").strip("-_ ") not in ("soft", "transient")
    return kind in LOOKED_AT or kind.startswith("video_")


def contact_of(event: dict[str, Any], carried: dict[str, str], theirs: set[Identifier]) -> dict[str, str]:
    """What one event tells of how to write to a person: email, name, locale, timezone; each only where told.

    `theirs`: the identifiers that it says are the person's; an address left out of the tie (18) is not theirs.
    """
    if not looked_at(event):
        return {}
    addresses = [("email", carried["email"])] if "email" in carried else []
    addresses += [named for named in [named_by_user_id(carried)] if named]
    traits = event["body"].get("traits") if event["type"] == "identified" else None
    traits = traits if isinstance(traits, dict) else {}
    context = event.get("context") or {}
    both = [text(traits.get("first_name")), text(traits.get("last_name"))]
    told = {
        "email": next((value for address in addresses if address in theirs for value in address[1:]), None),
        "name": text(traits.get("name")) or " ".join(part for part in both if part),
        "locale": text(context.get("locale")) or text(traits.get("locale")),
        "timezone": text(context.get("timezone")) or text(traits.get("timezone")),
    }
    return {name: value for name, value in told.items() if value}


def attribute(
    carried: dict[str, str], occurred_at: int, groups: Groups, logins: Logins, *, again: bool = False
) -> tuple[Identifier, tuple[Identifier, ...]]:
    """Semantics 18 to 20: whom an event counts for (its strongest identifier), and what that is tied to.

    Changes `groups` and `logins` as this event does.
    """
    ordered = [(namespace, carried[namespace]) for namespace in PRIORITY if namespace in carried]
    address = named_by_user_id(carried)
    if address is not None and address not in ordered:
        ordered.insert(sum(PRIORITY.index(namespace) <= PRIORITY.index("email") for namespace, _ in ordered), address)
    if "user_id" not in carried:
        ordered = [whose(one, occurred_at, groups, logins) for one in ordered]
    anchor, others = ordered[0], ordered[1:]
    groups.of(anchor)
    ties = []
    for other in others:
        if groups.may_join(anchor, other):  # else only this one is left out (semantics 20, last sentence)
            groups.join(anchor, other)
            ties.append(other)
    if "user_id" in carried and not again:  # a second copy of one event is nothing (11)
        for namespace in DEVICES:
            if namespace in carried:
                logins.note((namespace, carried[namespace]), occurred_at, carried["user_id"])
    return anchor, tuple(ties)


def whose(one: Identifier, occurred_at: int, groups: Groups, logins: Logins) -> Identifier:
    """Semantics 20: for a device that was somebody else's than its holder's then, the owner's user id."""
    if one[0] not in DEVICES:
        return one
    holder = groups.user_of(one)
    owner = logins.owner(one, occurred_at, holder)
    return one if owner is None or owner == holder else ("user_id", owner)

"""Who is who, in memory: the algorithm of the identity graph.

`store/lua/resolve.lua` is the same algorithm in Redis; `tests/contract/test_stores.py` holds both to the same answers.

Identifiers are the leaves of a union-find. A *link* leads from the root of one set to the root of another, always to
the smaller id, so a set's root is the smallest leaf id in it, whatever the order of linking. Links are never rewritten
(no path compression): each keeps the tie that made it, because whoever walks over a link that the second hop may not
have heard of has to tell it again. What was never tied is not stored: it is its own root.

A set is a person, or a *household*: persons who logged in on one device. A login on somebody else's device links the
two, though both have a user id: whose an event on it was depends on logins that may still be on their way. The fold of
the household's profile finds it out (triggers/devices.py), where all of them come together in the order of knowledge,
and keeps the persons apart. Past HOUSEHOLD of them nobody is taken in any more. A device of so many is *public*: it
keeps its logins here, and is whoever's of those that were read by then.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.identity.asks import Answer, Ask
from pipeline.topology.model import Identifiers

LAST_MS = 10**13 - 1  # logins are kept by 13-digit times
HOUSEHOLD = 8  # persons in one profile: families, and devices handed round; not a terminal in a shop


class Flags(NamedTuple):
    """What the topology says of a namespace, as far as tying is concerned."""

    unique: bool = False
    device: bool = False
    limit: int | None = None


PLAIN = Flags()
Namespaces = Mapping[str, Flags]


def compile_namespaces(identifiers: Identifiers) -> dict[str, Flags]:
    """Namespace -> flags. Raises ValueError where a device would be stronger than a person's unique id."""
    table: dict[str, Flags] = {}
    device: str | None = None
    for namespace in sorted(identifiers.namespaces, key=lambda each: each.priority):
        if namespace.unique and (namespace.device or device is not None):
            raise ValueError(
                f"identifier namespace {namespace.name!r} is unique to a person: it can't be a device and must have a"
                f" stronger (lower) priority than every device namespace (here: {device or namespace.name!r})"
            )
        if namespace.device:
            device = namespace.name
        table[namespace.name] = Flags(namespace.unique, namespace.device, namespace.limit)
    return table


class Link(NamedTuple):
    """An edge up. The tie with the smallest `received_at` that is known for it stood at `source`, `offset`."""

    parent: str
    received_at: int
    source: str
    offset: int


class Member(NamedTuple):
    """An identifier in a set. `value` only where the namespace is unique."""

    namespace: str
    leaf: str
    value: str | None


class PublicLogin(NamedTuple):
    """From `at` on (event time) a public device belongs to this person; where that is the device itself: to somebody
    of its household. Ordered by time, then leaf.
    """

    at: int
    leaf: str
    namespace: str
    value: str


class _Trip:
    """What one Ask walks over, and what it has to tell of it."""

    def __init__(self, links: dict[str, Link], source: str, ask: Ask) -> None:
        self.links = links
        self.source = source
        self.offset = ask.offset
        self.received_at = ask.received_at
        self.youngest = 0
        self.merges: list[str] = []
        self.told: set[str] = set()

    def walk(self, leaf: str) -> tuple[str, list[str]]:
        """(root, nodes whose links were taken, from the leaf up)."""
        links = self.links
        path: list[str] = []
        while (link := links.get(leaf)) is not None:
            path.append(leaf)
            self.youngest = max(self.youngest, link.received_at)
            if self.received_at < link.received_at or (link.source == self.source and self.offset <= link.offset):
                self.tell(leaf, link.parent)
            leaf = link.parent
        return leaf, path

    def tell(self, loser: str, winner: str) -> None:
        """Once an Ask."""
        if loser not in self.told:
            self.told.add(loser)
            self.merges += (loser, winner)


class Graph:
    """The graph's whole state and the one operation on it.

    All values in the dicts are immutable: a copy of the dicts is a copy of the graph.
    """

    def __init__(self, household: int = HOUSEHOLD) -> None:
        self.household = household
        self.links: dict[str, Link] = {}
        self.members: dict[str, tuple[Member, ...]] = {}
        self.logins: dict[str, tuple[PublicLogin, ...]] = {}
        self.shared = 0

    def copy(self) -> Graph:
        """An independent copy."""
        other = Graph(self.household)
        other.links = self.links.copy()
        other.members = self.members.copy()
        other.logins = self.logins.copy()
        other.shared = self.shared
        return other

    def root(self, leaf: str) -> str:
        """The profile id that a leaf belongs to."""
        while (link := self.links.get(leaf)) is not None:
            leaf = link.parent
        return leaf

    def owner(self, device: str, at: int) -> PublicLogin:
        """Whose a public device was at `at`: the last login up to then, else the first. Raises KeyError."""
        logins = self.logins[device]
        # A login at exactly `at` counts: "~" sorts after every leaf id.
        index = bisect_right(logins, (at, "~"), key=lambda login: (login.at, login.leaf))
        return logins[max(index - 1, 0)]

    def resolve(self, source: str, ask: Ask, namespaces: Namespaces) -> Answer:
        """Look up, check and tie one event's identifiers (strongest first, at least one)."""
        ids = ask.ids
        trip = _Trip(self.links, source, ask)
        at = min(max(ask.occurred_at, 0), LAST_MS)
        anchor = Member(ids[0], ids[2], ids[1])
        if namespaces.get(anchor.namespace, PLAIN).device and anchor.leaf in self.logins:
            owner = self.owner(anchor.leaf, at)
            root, _ = trip.walk(owner.leaf)
            # It ties nothing, but perhaps it did when it was asked before the device changed hands, and that got lost.
            for leaf in ids[2::3]:
                trip.walk(leaf)
            return Answer(root, [owner.namespace, owner.value], trip.youngest, False, [], trip.merges)

        root, path = trip.walk(anchor.leaf)
        user = _login(ids, at, namespaces)
        accepted = [anchor.namespace, ids[1]]
        refused: list[str] = []
        cacheable = True
        for i in range(3, len(ids), 3):
            namespace, value, leaf = ids[i : i + 3]
            device = namespaces.get(namespace, PLAIN).device
            public = device and leaf in self.logins
            other, way = trip.walk(leaf)
            if public:
                cacheable = False
                if user is not None:
                    self._log_in(leaf, user if other != root else PublicLogin(at, leaf, namespace, value))
            if other == root:
                if trip.youngest > ask.received_at:
                    self._tied_earlier(path, way, source, ask)
                accepted += (namespace, value)
                continue
            if public:
                continue
            ours = self._members(root, anchor, namespaces)
            theirs = self._members(other, Member(namespace, leaf, value), namespaces)
            why = self._clash(ours, theirs, namespaces, device and user is not None)
            if why == "public":
                assert user is not None
                cacheable = False
                self.logins[leaf] = (PublicLogin(0, leaf, namespace, value),)
                self._hand_over(leaf, user)
            elif why is not None:
                refused += (namespace, value, why)
            else:
                if other < root:
                    winner, loser, members = other, root, theirs + ours
                    path.append(root)
                else:
                    winner, loser, members = root, other, ours + theirs
                self.links[loser] = Link(winner, ask.received_at, source, ask.offset)
                self.members[winner] = members
                self.members.pop(loser, None)
                trip.tell(loser, winner)
                trip.youngest = max(trip.youngest, ask.received_at)
                root = winner
                accepted += (namespace, value)
        return Answer(root, accepted, trip.youngest, cacheable, refused, trip.merges)

    def _members(self, root: str, single: Member, namespaces: Namespaces) -> tuple[Member, ...]:
        """Members of `root`; what has no entry was never tied, so it is the identifier that was asked for."""
        members = self.members.get(root)
        if members is None:
            unique = namespaces.get(single.namespace, PLAIN).unique
            members = (single if unique else single._replace(value=None),)
        return members

    def _clash(
        self, ours: tuple[Member, ...], theirs: tuple[Member, ...], namespaces: Namespaces, login: bool
    ) -> str | None:
        """Why two sets stay two: None, "unique" (they are different people), "limit", or, of a login on somebody else's
        device, "public": they are too many for a household.

        Of a household nobody knows here whose an identifier is. Where it may be of somebody who is no other person than
        ours, it is taken in, and the fold finds out.
        """
        mine, unique = _counts(ours, namespaces)
        others, their_unique = _counts(theirs, namespaces)
        both = [name for name in unique if name in their_unique]
        persons, their_persons = max(unique.values(), default=0), max(their_unique.values(), default=0)
        together = max(max((n + their_unique.get(name, 0) for name, n in unique.items()), default=0), their_persons)
        if both:
            if not login and any(unique[name] == persons and their_unique[name] == their_persons for name in both):
                return "unique"
            if together > self.household:
                return "public" if login else "unique"
        for name, n in others.items():
            limit = namespaces.get(name, PLAIN).limit
            if limit is not None and mine.get(name, 0) + n > limit * max(together, 1):
                return "limit"
        return None

    def _log_in(self, device: str, login: PublicLogin) -> None:
        """On a public device: kept where it says something new."""
        owner = self.owner(device, login.at)
        if owner.leaf != login.leaf:
            self._hand_over(device, login)
        elif login.at < owner.at:  # the first by event time, and arrived after others
            self.logins[device] = (login, *self.logins[device])

    def _hand_over(self, device: str, login: PublicLogin) -> None:
        logins = list(self.logins[device])
        if login not in logins:
            insort(logins, login)
            self.logins[device] = tuple(logins)
            self.shared += 1

    def _tied_earlier(self, path: list[str], way: list[str], source: str, ask: Ask) -> None:
        """A link keeps its earliest tie, and where that stood: there it would be told again.

        If several links between the two are younger than this tie, none of them alone was made by it: they stay, and
        go on being told to whoever comes earlier.
        """
        between = [node for node in path if node not in way] + [node for node in way if node not in path]
        younger = [node for node in between if self.links[node].received_at > ask.received_at]
        if len(younger) == 1:
            node = younger[0]
            self.links[node] = Link(self.links[node].parent, ask.received_at, source, ask.offset)


def _login(ids: list[str], at: int, namespaces: Namespaces) -> PublicLogin | None:
    """The event seen as a login of its strongest unique identifier, if it has one."""
    for i in range(0, len(ids), 3):
        if namespaces.get(ids[i], PLAIN).unique:
            return PublicLogin(at, ids[i + 2], ids[i], ids[i + 1])
    return None


def _counts(members: tuple[Member, ...], namespaces: Namespaces) -> tuple[dict[str, int], dict[str, int]]:
    """How many of each namespace there are; of those that are unique to a person alone."""
    counts: dict[str, int] = {}
    for member in members:
        counts[member.namespace] = counts.get(member.namespace, 0) + 1
    return counts, {name: n for name, n in counts.items() if namespaces.get(name, PLAIN).unique}

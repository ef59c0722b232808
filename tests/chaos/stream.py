"""A week in a shop of several hundred people, from a seed: what the crash tests feed.

No limit is met, so the order of the log within the disorder changes nothing. What makes it hard: most carts are left on
a new device that is tied to its owner between the reminder's due time D and D + lateness, while the owner acts under
other identifiers, whose rows lie on other partitions. And two to five people pass a tablet on to each other, by the
minute or faster: what they do on it says nothing of whose it is, and logins come in other topics, too, and late.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro

from pipeline.events import schemas
from pipeline.events.model import Event
from pipeline.identity.ids import leaf_id
from tests.whole import doing

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
T0 = 1_760_000_000_000
"""2025-10-09T08:53:20Z"""
SPAN = 5 * DAY
LATENESS = 5 * MINUTE
AFTER = HOUR
JITTER = 4_500
"""How far received_at runs back inside a partition (ms); shipped topologies allow 10 s."""

Ids = dict[str, str]


@dataclass
class Tie:
    """A login while a cart waits. The cart is the only one of that id."""

    cart: str
    received_at: int


@dataclass
class Stream:
    """`events` in the order of the log."""

    events: list[Event] = field(default_factory=list)
    ties: list[Tie] = field(default_factory=list)
    persons: int = 0
    logins: int = 0
    """On devices that are shared."""

    def write(self, folder: Path) -> list[Path]:
        """As Avro containers, one a type, for `pipeline replay`."""
        kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for e in sorted(self.events, key=lambda e: (e.received_at, e.occurred_at, e.event_id)):
            kinds[e.type].append(
                {
                    "event_id": e.event_id,
                    "occurred_at": e.occurred_at,
                    "received_at": e.received_at,
                    "identifiers": e.identifiers,
                    "body": e.body,
                }
            )
        files = []
        for kind, records in sorted(kinds.items()):
            path = folder / f"{kind}.avro"
            with path.open("wb") as file:
                fastavro.writer(file, fastavro.parse_schema(schemas.schema(kind)), records)
            files.append(path)
        return files


def stream(seed: int, size: int) -> Stream:
    """About `size` events, never fewer."""
    made = Stream()
    placed: list[tuple[int, Event]] = []
    while len(placed) < size:
        r = random.Random(f"{seed}/{made.persons}")
        household = [
            _Person(random.Random(f"{seed}/{number}"), number)
            for number in range(made.persons, made.persons + r.choice([1, 1, 2, 3, 4, 5]))
        ]
        for person in household:
            person.live()
        if len(household) > 1:
            made.logins += pass_on(r, household)
        made.persons += len(household)
        for person in household:
            made.ties += person.ties
            placed += person.placed
    placed.sort(key=lambda pair: pair[0])
    made.events = [event for _, event in placed]
    return made


def pass_on(r: random.Random, household: Sequence[_Person]) -> int:
    """A tablet goes round. Returns how many logins there were."""
    tablet = {"anonymous_id": f"tablet{household[0].number}"}
    logins = 0
    for _ in range(r.randint(1, 3)):  # evenings
        at = T0 + r.randrange(SPAN)
        for _ in range(r.randint(4, 10)):
            person = r.choice(household)
            kind = r.choice(list(LOGINS))
            late = at + r.choice([0, 0, 0, 3 * SECOND, 8 * SECOND, 20 * MINUTE, 64 * MINUTE])
            person.tell(kind, {**tablet, **person.user}, at, late, **LOGINS[kind])
            logins += 1
            for _ in range(r.randint(0, 2)):
                at += r.choice([1, SECOND, 3 * SECOND])
                person.on_tablet(tablet, at)
            if r.random() < 0.2:
                person.order(person.user, at + r.randint(1, 50) * MINUTE, None)
            at += r.choice([500, 2 * SECOND, 5 * SECOND, MINUTE, MINUTE, 30 * MINUTE])
    return logins


LOGINS: dict[str, dict[str, Any]] = {
    "identified": {},
    "page_viewed": {"path": "/account"},
    "video_paused": {"film": "none", "session_id": "s"},
    "email_opened": {"message_id": "news", "confidence": "human"},
    "store_visited": {},
}
"""Whatever tells a device and a user is one; these lie in four topics."""


class _Person:
    """One life. `placed`: (place in the log, event)."""

    def __init__(self, r: random.Random, number: int) -> None:
        self.r, self.number = r, number
        self.user = {"user_id": f"u{number}"}
        self.mail = {"email": f"person{number}@example.org"}
        self.devices: list[Ids] = []
        self.placed: list[tuple[int, Event]] = []
        self.ties: list[Tie] = []
        self.count = 0

    def tell(self, kind: str, ids: Ids, at: int, received: int | None = None, /, **body: Any) -> Event:
        """One event, received when it occurred unless said otherwise."""
        received = max(at, at if received is None else received)
        event = Event(kind, f"e{self.number}-{self.count}", at, received, dict(ids), body)
        self.count += 1
        self.put(event)
        if self.r.random() < 0.02:  # a client sends it twice
            self.put(event)
        return event

    def put(self, event: Event) -> None:
        self.placed.append((event.received_at + self.r.randint(0, JITTER), event))

    def anyone(self) -> Ids:
        """An identifier that is told to be the person's, now or in another scene."""
        return self.r.choice([self.user, self.user, self.mail, *self.devices])

    def live(self) -> None:
        r = self.r
        began = T0 + r.randrange(SPAN // 3)
        first = self.device("a")
        self.tell("identified", {**first, **self.user}, began, traits={"plan": r.choice(["free", "paid"])})
        self.tell("identified", {**self.mail, **self.user}, began + r.randint(0, 8) * SECOND)
        self.devices.append(first)
        for _ in range(r.choice([1, 2, 2, 3])):
            self.tied_cart(began + r.randrange(T0 + SPAN - began))
        if self.number % 200 == 7:
            self.known_well(began + r.randrange(T0 + SPAN - began))
        for scene in (self.ebook, self.film, self.cart, self.shared_cart):
            if r.random() < 0.6:
                scene(began + r.randrange(T0 + SPAN - began))
        for _ in range(r.randint(2, 6)):
            at = began + r.randrange(T0 + SPAN - began)
            self.tell("page_viewed", self.anyone(), at, path=f"/p{r.randrange(9)}")
        if r.random() < 0.3:
            self.looks_round(began + r.randrange(T0 + SPAN - began))

    def device(self, kind: str, *, winner: bool = False) -> Ids:
        """A new device. `winner`: one whose profile absorbs the others, which mostly means moves between partitions."""
        space = "device_id" if self.r.random() < 0.2 else "anonymous_id"
        known = min(leaf_id(*pair) for ids in [self.user, self.mail, *self.devices] for pair in ids.items())
        for _ in range(200):
            name = f"{kind}{self.number}-{len(self.devices)}-{self.r.randrange(1 << 30):x}"
            if not winner or leaf_id(space, name) < known:
                break
        return {space: name}

    def tied_cart(self, at: int) -> None:
        """A cart on a new device; login received between D and D + lateness; mostly the owner acted elsewhere."""
        r, cart = self.r, f"c{self.number}-{self.count}"
        phone = self.device("phone", winner=r.random() < 0.5)
        last = at
        self.add(phone, at, cart)
        for _ in range(r.randint(0, 2)):
            last += r.randint(1, 20) * MINUTE
            if r.random() < 0.5:
                self.add(phone, last, cart)
            else:
                self.tell("cart_viewed", phone, last, cart_id=cart)
        due = last + AFTER
        tied = r.choice([due, due + LATENESS, *(due + r.randrange(LATENESS) for _ in range(4))])
        if r.random() < 0.65:
            self.order(self.anyone(), last + r.randint(1, 59) * MINUTE, cart if r.random() < 0.5 else None)
        for _ in range(r.randint(0, 3)):  # rows that overtake the link
            who = r.choice([phone, self.user, self.mail])
            self.tell("product_viewed", who, tied + r.randint(-8, 8) * SECOND, product_id=f"p{r.randrange(9)}")
        self.tell("identified", {**phone, **self.user}, tied)
        self.ties.append(Tie(cart, tied))
        self.devices.append(phone)

    def cart(self, at: int) -> None:
        """Parallel carts, late news, removals."""
        r, cart = self.r, f"c{self.number}-{self.count}"
        for _ in range(r.randint(1, 5)):
            late = at + r.choice([0, 0, 0, 0, r.randint(1, 90) * MINUTE])
            kind = r.choice(["add", "add", "remove", "look", "clear"])
            if kind == "add":
                self.add(self.anyone(), at, cart, late)
            elif kind == "remove":
                self.tell("product_removed", self.anyone(), at, late, cart_id=cart, product_id=f"p{r.randrange(3)}")
            elif kind == "look":
                self.tell("cart_viewed", self.anyone(), at, late, cart_id=cart)
            else:
                self.tell("cart_cleared", self.anyone(), at, late, cart_id=cart)
            at += r.choice([1, 5, 20, 59, 60, 61, 64]) * MINUTE
        if r.random() < 0.4:  # mostly too late: what fired is taken back
            self.order(self.anyone(), at, cart, at + r.choice([0, 10, 70, 200]) * MINUTE)

    def looks_round(self, at: int) -> None:
        """Some days of what the included rules look at, now and then told late."""
        r = self.r
        for _ in range(r.randint(8, 25)):
            kind, body = doing(r, f"u{self.number}")
            late = at + r.choice([0, 0, 0, 0, r.randint(1, 90) * MINUTE])
            self.tell(kind, self.anyone(), at, late, **body)
            at += r.choice([1, 5, 40, 300]) * MINUTE

    def shared_cart(self, at: int) -> None:
        """Events without a cart id."""
        for _ in range(self.r.randint(1, 3)):
            self.add(self.anyone(), at, None)
            at += self.r.randint(1, 50) * MINUTE

    def on_tablet(self, tablet: Ids, at: int) -> None:
        """Something that only the logins say whose it is."""
        r = self.r
        cart = r.choice([None, f"t{self.number}", f"family-{tablet['anonymous_id']}"])
        late = at + r.choice([0, 0, 0, r.randint(1, 90) * MINUTE])
        kind = r.choice(["add", "add", "add", "look", "order", "clear", "remove", "page", "film"])
        keyed = {"cart_id": cart} if cart else {}
        if kind == "add":
            self.add(tablet, at, cart, late)
        elif kind == "look":
            self.tell("cart_viewed", tablet, at, late, **keyed)
        elif kind == "order":
            self.order(tablet, at, cart, late)
        elif kind == "clear":
            self.tell("cart_cleared", tablet, at, late, **keyed)
        elif kind == "remove":
            self.tell("product_removed", tablet, at, late, product_id=f"p{r.randrange(3)}", **keyed)
        elif kind == "page":
            self.tell("page_viewed", tablet, at, late, path="/tablet")
        else:
            start = r.choice([0.0, 20.0, 40.0])
            body = {"film": "family", "total_length": 100.0, "session_id": f"s{self.number}"}
            self.tell(
                "video_progressed", tablet, at, late, position=start, watched_from=start, watched_to=start + 40, **body
            )

    def add(self, who: Ids, at: int, cart: str | None, received: int | None = None) -> None:
        product = f"p{self.r.randrange(3)}"
        body: dict[str, Any] = {"product_id": product, "price": self.r.choice([2.5, 10.0]), "currency": "EUR"}
        if cart:
            body["cart_id"] = cart
        self.tell("product_added", who, at, received, quantity=1, **body)

    def order(self, who: Ids, at: int, cart: str | None, received: int | None = None) -> None:
        body: dict[str, Any] = {"order_id": f"o{self.number}-{self.count}", "total": 12.5, "currency": "EUR"}
        if cart:
            body["cart_id"] = cart
        kind = "offline_purchased" if self.r.random() < 0.2 else "order_completed"
        self.tell(kind, who, at, received, **body)

    def known_well(self, at: int) -> None:
        """A device of which more is known than a record takes, until its owner logs in: it moves in parts."""
        phone = self.device("known")
        for n in range(4):
            traits = {f"{n}-{m}-" + "ü" * 240: "ü" * 256 for m in range(400)}
            self.tell("identified", phone, at + n * MINUTE, traits=traits)
        self.add(phone, at + 5 * MINUTE, f"c{self.number}-known")
        self.tell("identified", {**phone, **self.user}, at + AFTER)
        self.devices.append(phone)

    def ebook(self, at: int) -> None:
        r, message = self.r, f"m{self.number}-{self.count}"
        body: dict[str, Any] = {"message_id": message, "campaign": "spring"}
        self.tell("email_sent", self.mail, at, link_ids=["ebook", "imprint"], **body)
        if r.random() < 0.4:
            self.tell("email_opened", self.mail, at + r.randint(1, 600) * MINUTE, confidence="unknown", **body)
        if r.random() < 0.4:
            clicked = at + r.randint(1, 4_400) * MINUTE
            late = clicked + r.choice([0, 0, 6, 300]) * MINUTE
            confidence = r.choice(["human", "human", "machine"])
            self.tell("email_clicked", self.mail, clicked, late, link_id="ebook", confidence=confidence, **body)
        elif r.random() < 0.3:
            self.tell("asset_downloaded", self.anyone(), at + r.randint(-600, 4_300) * MINUTE, asset="ebook")

    def film(self, at: int) -> None:
        r, film = self.r, f"film{self.r.randrange(5)}"
        start = 0.0
        for _ in range(r.randint(2, 7)):
            who = self.anyone()
            session = f"s{self.number}-{self.count}"
            body: dict[str, Any] = {"film": film, "title": film.title(), "session_id": session, "total_length": 100.0}
            self.tell(
                "video_progressed", who, at, position=start + 15, watched_from=start, watched_to=start + 15, **body
            )
            start = r.choice([start + 15, start + 15, start + 5, 0.0])
            if start > 80:
                break
            at += r.randint(15, 600) * SECOND
        if r.random() < 0.4:
            self.order(self.anyone(), at + r.randint(1, 1_600) * MINUTE, None)

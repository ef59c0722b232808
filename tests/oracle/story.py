"""Scenes of little nasty histories: the plain kind. histories.py puts them together."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.oracle.build import BASE, MINUTE

Event = dict[str, Any]

DISORDER = 10_000
MS = 1 / MINUTE
DAY = 24 * 60

DELAYS = (
    [0.0] * 24
    + [MS, 0.05, 0.1, 1, 2, 3, 4, 5, 5 + MS, 6, 10, 30]
    + [60, 64, 65, 65 + MS, 66, 70, 90, 120, 240]
    + [DAY + 5, DAY + 6, 2 * DAY, 71 * 60, 72 * 60, 72 * 60 + MS, 75 * 60, 80 * 60]
)
"""Minutes from happening to receipt."""

TOO_LATE = [60, 65 + MS, 66, 70, 120, DAY + 6, 2 * DAY, 3 * DAY]
CART_STEPS = [
    0,
    0,
    MS,
    1,
    5,
    5,
    10,
    20,
    30,
    55,
    59,
    60 - MS,
    60,
    60,
    60 + MS,
    61,
    62,
    64,
    65,
    65 + MS,
    66,
    70,
    125,
    130,
]
PRODUCTS = {"p": 10, "q": 2.5, "r": 7}
FILMS = {"alpha": 40, "beta": 60}


class Person:
    """Two to four identifiers, each used alone most of the time."""

    def __init__(self, rng: Random, number: int, *, segment: bool) -> None:
        pool = [
            ("anonymous_id", f"a{number}"),
            ("user_id", f"u{number}"),
            ("email", f"p{number}@shop.example"),
            ("device_id", f"d{number}"),
            ("anonymous_id", f"a{number}b"),
        ]
        if not segment:
            pool.append(("crm_id", f"c{number}"))
        self.rng = rng
        self.names = rng.sample(pool, rng.randint(2, 4))

    def one(self) -> dict[str, str]:
        """One identifier, the first ones more often; now and then two, which ties them."""
        if self.rng.random() < 0.08:
            return self.two()
        return dict([self.names[min(self.rng.randrange(len(self.names)), self.rng.randrange(len(self.names)))]])

    def two(self) -> dict[str, str]:
        """Two identifiers (of two namespaces, if it has any), the e-mail spelt as people spell it."""
        chosen = dict(self.rng.sample(self.names, 2))
        if "email" in chosen and self.rng.random() < 0.3:
            chosen["email"] = f" {chosen['email'].title()} "
        return chosen


class Story:
    """Collects events; knows how late things are told."""

    def __init__(self, seed: int, *, segment: bool) -> None:
        self.rng = Random(seed)
        self.segment = segment
        self.events: list[Event] = []
        self.punctual = self.rng.choice([0.3, 0.6, 0.9])

    def delay(self) -> float:
        """Minutes from happening to receipt."""
        return 0.0 if self.rng.random() < self.punctual else self.rng.choice(DELAYS)

    def tell(self, type_: str, at: float, who: dict[str, str], got: float | None = None, **body: Any) -> Event:
        """One event at minute `at`, received at minute `got` (None: after some delay)."""
        occurred_at = BASE + round(at * MINUTE)
        received_at = occurred_at + round(self.delay() * MINUTE) if got is None else BASE + round(got * MINUTE)
        event = {
            "type": type_,
            "event_id": f"e{len(self.events):03d}-{self.rng.randrange(100):02d}",
            "occurred_at": occurred_at,
            "received_at": max(occurred_at, received_at),
            "identifiers": who,
            "body": {name: value for name, value in body.items() if value is not None},
        }
        self.events.append(event)
        return event

    def late(self, at: float) -> float | None:
        """When a cancel is received: now and then so late that it may retract what fired; None: after some delay."""
        return at + self.rng.choice(TOO_LATE) if self.rng.random() < 0.25 else None

    def when(self) -> float:
        """When a scene begins: mostly close to the others, on a grid of five minutes."""
        return self.rng.choice([0, 0, 0, DAY, 2 * DAY, 3 * DAY]) + 5 * self.rng.randrange(0, 40)

    @staticmethod
    def after_base(at: int) -> float:
        """UTC ms -> minutes as `tell` takes them."""
        return (at - BASE) / MINUTE

    # --- scenes

    def cart(self, person: Person) -> None:
        """Some activity around one cart, with steps that like D and D + L."""
        rng, at = self.rng, self.when()
        key = rng.choice([None, None, "c1", "c2"])
        for step in range(rng.randint(1, 7)):
            kind = (
                "add"
                if step == 0 and rng.random() < 0.9
                else rng.choice(["add", "add", "remove", "remove", "view", "order", "clear"])
            )
            product = rng.choice(list(PRODUCTS))
            if kind == "add":
                price = PRODUCTS[product] + (rng.random() < 0.1)
                body: dict[str, Any] = {
                    "product_id": product,
                    "quantity": rng.choice([1, 1, 2, None, 0]),
                    "price": price,
                    "currency": "EUR",
                }
                if rng.random() < 0.1:
                    body["sku"] = body.pop("product_id")
                elif rng.random() < 0.05:
                    del body["product_id"]
                self.tell("product_added", at, person.one(), cart_id=key, **body)
            elif kind == "remove":
                quantity = rng.choice([None, None, 1, 2])
                self.tell("product_removed", at, person.one(), cart_id=key, product_id=product, quantity=quantity)
            elif kind == "view":
                self.tell("cart_viewed", at, person.one(), cart_id=key)
            elif kind == "clear":
                self.tell("cart_cleared", at, person.one(), self.late(at), cart_id=rng.choice([key, None]))
            else:
                self.order(person, at, rng.choice([key, None, "c1"]))
            at += rng.choice(CART_STEPS)

    def order(self, person: Person, at: float, key: str | None) -> None:
        """An order through any channel."""
        order_id = f"o{len(self.events)}"
        if not self.segment and self.rng.random() < 0.2:
            self.tell("offline_purchased", at, person.one(), self.late(at), cart_id=key, order_id=order_id)
            return
        channel = self.rng.choice([None, None, "offline"])
        self.tell("order_completed", at, person.one(), self.late(at), cart_id=key, order_id=order_id, channel=channel)

    def ebook(self, person: Person, other: Person) -> None:
        """A message, told once or more, to one person or under one id to two; clicks and downloads around it."""
        rng, at = self.rng, self.when()
        message = rng.choice(["m1", "m2", f"m{len(self.events)}"])
        body: dict[str, Any] = {
            "message_id": message,
            "campaign": "spring",
            "link_ids": rng.choice([["ebook"], ["imprint", "ebook"], ["ebook"], ["imprint"]]),
        }
        sent = self.tell("email_sent", at, person.one(), **body)
        if rng.random() < 0.25:  # one event id under two people's identifiers
            twin = self.tell("email_sent", at, other.one(), **body)
            twin["event_id"] = sent["event_id"]
        if rng.random() < 0.4:
            self.tell("email_sent", at + rng.choice([-5, 0, 10, 3 * DAY, 6 * DAY, 6 * DAY + MS]), person.one(), **body)
        if rng.random() < 0.25:
            happened = at + rng.choice([-DAY, -5, 0, 60, 3 * DAY, 3 * DAY + 2])
            asset = rng.choice(["ebook", "ebook", "price-list"])
            self.tell("asset_downloaded", happened, person.one(), self.after_reminder(at, happened), asset=asset)
        for _ in range(rng.choice([0, 1, 1, 2])):
            happened = at + rng.choice([-1, 0, 1, DAY, 3 * DAY - MS, 3 * DAY, 3 * DAY + MS, 3 * DAY + 5])
            self.tell(
                "email_clicked",
                happened,
                person.one(),
                self.after_reminder(at, happened),
                message_id=message,
                link_id=rng.choice(["ebook", "ebook", "imprint"]),
                confidence=rng.choice(["human", "machine", "unknown"]),
            )

    def after_reminder(self, sent: float, happened: float) -> float | None:
        """When a click or download is received: now and then around the moment when the reminder is decided."""
        due = sent + 3 * DAY
        if happened > due or self.rng.random() < 0.7:
            return None
        return due + self.rng.choice([0, 5 - MS, 5, 5 + MS, 6, 60, DAY])

    def film(self, person: Person) -> None:
        """A player session or two of one film, with pauses, seeks, lost and late heartbeats; orders around D."""
        rng, at = self.rng, self.when()
        film = rng.choice(list(FILMS))
        for _ in range(rng.randint(1, 2)):
            session = rng.choice(["s1", "s2", f"s{len(self.events)}", None])
            if not self.segment and rng.random() < 0.4:
                self.intervals(person, at, film, session)
            else:
                at = self.player(person, at, film, session)
            at += rng.choice([0, 1, 5, 60, DAY])
        for _ in range(rng.choice([0, 0, 1, 2])):
            seen = rng.choice(self.events)["occurred_at"]
            self.order(person, (seen - BASE) / MINUTE + rng.choice([-1, 0, 60, DAY - MS, DAY, DAY + MS, DAY + 5]), None)

    def player(self, person: Person, at: float, film: str, session: str | None) -> float:
        """A player that sends positions every ten seconds. Returns the minute at which it ends."""
        rng, who = self.rng, person.one()
        position = rng.choice([0.0, 0.0, 10.0, 20.0])
        common: dict[str, Any] = {
            "session_id": session,
            "film": film,
            "title": film.title(),
            "total_length": FILMS[film],
        }
        self.tell("video_started", at, who, position=position, **common)
        for _ in range(rng.randint(1, 5)):
            at += 1 / 6
            act = rng.choice(["play", "play", "play", "play", "pause", "seek", "jump"])
            if act == "play":
                position += rng.choice([10, 10, 10, 21, 22])
                self.tell("video_progressed", at, who, position=position, **common)
            elif act == "pause":
                position += 10
                cause = rng.choice(["paused", "interrupted", "buffering"])
                self.tell("video_paused", at, who, position=position, cause=cause, **common)
                at += rng.choice([0, 1 / 6])
                if rng.random() < 0.7:
                    self.tell("video_resumed", at, who, position=position, **common)
            elif act == "seek":
                position += 5
                self.tell("video_paused", at, who, position=position, cause="seeking", **common)
                position = rng.choice([0.0, 15.0, 30.0])
                self.tell("video_sought", at, who, position=position, seek_to=position, **common)
            else:
                position += 40
                self.tell("video_progressed", at, who, position=position, **common)
            if rng.random() < 0.05:  # another film, or another identifier, in the same session
                common["film"] = rng.choice(list(FILMS))
            if rng.random() < 0.05:
                who = person.one()
        if rng.random() < 0.3:
            self.tell("video_completed", at, who, position=position, **common)
        return at

    def intervals(self, person: Person, at: float, film: str, session: str | None) -> None:
        """Our own player: every event carries the interval that was watched."""
        for _ in range(self.rng.randint(1, 3)):
            start = self.rng.choice([0, 10, 20, 30])
            end = start + self.rng.choice([5, 10, 20])
            self.tell(
                "video_progressed",
                at,
                person.one(),
                session_id=session and f"own-{session}",
                film=film,
                title=film.title(),
                total_length=FILMS[film],
                position=end,
                watched_from=start,
                watched_to=end,
            )
            at += self.rng.choice([0, 1 / 6, 5])

    def ties(self, person: Person) -> None:
        """Logins received just before, at and after the moments when something is due, or between D and D + L."""
        rng = self.rng
        for _ in range(rng.choice([0, 1, 2, 2, 3])):
            near = (rng.choice(self.events)["occurred_at"] - BASE) / MINUTE
            after = rng.choice([60, 60, 60, DAY, 3 * DAY])
            got = near + rng.choice(
                [
                    0,
                    1,
                    30,
                    after - 1,
                    after,
                    after + 1,
                    after + 3,
                    after + 5,
                    after + 5,
                    after + 5 + MS,
                    after + 6,
                    after + 10,
                ]
            )
            happened = got - rng.choice([0, 0, 0, 1, 30, 70, DAY, 4 * DAY])
            self.tell("identified", happened, person.two(), got)

    def shared_tablet(self, people: list[Person]) -> None:
        """One device on which several user ids log in, by turns, some of it told late."""
        rng = self.rng
        tablet = {rng.choice(["anonymous_id", "device_id"]): "tablet"}
        at = 5.0 * rng.randrange(0, 20)
        for _ in range(rng.randint(3, 9)):
            user = {"user_id": f"u{rng.randrange(1, len(people) + 1)}"}
            kind = rng.choice(["login", "login", "add", "add", "order", "view"])
            if kind == "login":
                extra = {"email": f"p{user['user_id'][1:]}@shop.example"} if rng.random() < 0.2 else {}
                self.tell("identified", at, {**tablet, **user, **extra})
            elif kind == "order":
                self.tell("order_completed", at, rng.choice([tablet, user, {**tablet, **user}]), order_id=f"o{at}")
            elif kind == "view":
                self.tell("cart_viewed", at, tablet)
            else:
                self.tell(
                    "product_added",
                    at,
                    rng.choice([tablet, tablet, user]),
                    product_id="p",
                    quantity=1,
                    price=10,
                    currency="EUR",
                )
            at += rng.choice([MS, 1, 5, 10, 30, 60, 65, 70])

    def handed_round(self, people: int) -> None:
        """A device or two that `people` pass on to each other, some every second: logins that repeat, in page views
        too, and what somebody does without saying who. All of it told at once or late, logins most of all.
        """
        rng = self.rng
        tablets = [{"anonymous_id": "tablet"}, {"device_id": "tablet"}, {"anonymous_id": "tablet", "device_id": "pad"}]
        chosen = rng.sample(tablets, rng.choice([1, 1, 1, 2]))
        paces: list[list[float]] = [[MS, 1 / 60, 0.05, 0.1], [1 / 60, 0.5, 1, 1], [1, 5, 10, 30, 60, 65]]
        pace = rng.choice(paces)
        tardy = rng.choice([0.1, 0.5, 0.9])
        at = 5.0 * rng.randrange(0, 20)
        user = {"user_id": f"u{rng.randint(1, people)}"}
        for _ in range(rng.randint(5, 25)):
            if rng.random() < 0.4:
                user = {"user_id": f"u{rng.randint(1, people)}"}
            tablet = rng.choice(chosen)
            key = rng.choice([None, "c1", "c2", f"c{user['user_id']}"])
            kind = rng.choice(["login", "login", "seen", "add", "add", "add", "order", "view", "clear", "film", "mail"])
            late = at + rng.choice([MS, 1 / 60, 0.1, 0.15, 1, 30, 61, 65, 66, 70, DAY, 73 * 60])
            got = late if rng.random() < tardy * (0.6 if kind in ("login", "seen") else 0.2) else at
            if kind == "login":
                extra = {"email": f"p{user['user_id'][1:]}@shop.example"} if rng.random() < 0.2 else {}
                self.tell("identified", at, {**tablet, **user, **extra}, got)
            elif kind == "seen":
                self.tell("page_viewed", at, {**tablet, **user}, got, url="https://shop.example/")
            else:
                self.done_on(rng.choice([tablet, tablet, tablet, user, {**tablet, **user}]), kind, at, got, key)
            at += rng.choice(pace) if rng.random() < 0.9 else 60

    def taken_over(self) -> None:
        """Somebody alone on a device, logged in with each page, for hours; and in between, told late, who else was."""
        rng = self.rng
        tablet = rng.choice([{"anonymous_id": "tablet"}, {"device_id": "tablet"}])
        at = 5.0 * rng.randrange(0, 20)
        for _ in range(rng.randint(8, 40)):
            at += rng.choice([MS, 1 / 60, 0.5, 1, 5, 10]) if rng.random() < 0.95 else 40
            kind = rng.choice(["seen", "seen", "seen", "add", "add", "order", "clear"])
            got = at + rng.choice([MS, 1, 5, 30, 61]) if rng.random() < 0.3 else at
            if kind == "seen":
                user = {"user_id": "u1" if rng.random() < 0.9 else "u2"}
                got = at + rng.choice([1, 5, 12, 30]) if user["user_id"] == "u2" else got
                self.tell("page_viewed", at, {**tablet, **user}, got, url="https://shop.example/")
            else:
                who = rng.choice([tablet, tablet, tablet, {"user_id": "u1"}, {"user_id": "u2"}])
                self.done_on(who, kind, at, got, rng.choice(["c1", "c2"]))

    def done_on(self, who: dict[str, str], kind: str, at: float, got: float, key: str | None) -> None:
        """Something that rules look at."""
        rng = self.rng
        body: dict[str, Any]
        if kind == "add":
            body = {"product_id": rng.choice(["p", "q"]), "quantity": 1, "price": 10, "currency": "EUR"}
            self.tell("product_added", at, who, got, cart_id=key, **body)
        elif kind == "order":
            self.tell("order_completed", at, who, got, cart_id=key, order_id=f"o{len(self.events)}")
        elif kind == "view":
            self.tell("cart_viewed", at, who, got, cart_id=key)
        elif kind == "clear":
            self.tell("cart_cleared", at, who, got, cart_id=key)
        elif kind == "mail":
            told = rng.choice(["email_sent", "email_sent", "email_clicked"])
            sent: dict[str, Any] = {"campaign": "x", "link_ids": ["ebook"]}
            body = sent if told == "email_sent" else {"link_id": "ebook"}
            self.tell(told, at, who, got, message_id=rng.choice(["m1", "m2"]), **body)
        else:
            position = rng.choice([0.0, 10.0, 20.0, 30.0])
            body = {"session_id": "tv", "film": "alpha", "title": "Alpha", "total_length": 40}
            self.tell(rng.choice(["video_started", "video_progressed"]), at, who, got, position=position, **body)

    def noise(self, person: Person) -> None:
        """What no rule looks at."""
        kind = self.rng.choice(["page_viewed", "custom", "product_viewed", "order_refunded"])
        bodies: dict[str, dict[str, Any]] = {
            "page_viewed": {"url": "https://shop.example/"},
            "custom": {"name": "Waved", "properties": {"hand": "left"}},
            "product_viewed": {"product_id": "p"},
            "order_refunded": {"order_id": "o1"},
        }
        self.tell(kind, self.when(), person.one(), **bodies[kind])

    # --- the log

    def duplicates(self) -> None:
        """Some events are told again: at once, or later."""
        for event in self.rng.sample(self.events, len(self.events) // 10):
            again = {
                **event,
                "received_at": event["received_at"] + round(self.rng.choice([0, 0, MS, 5, 70, DAY]) * MINUTE),
            }
            self.events.append(again)

    def log(self, *, behind: bool) -> list[Event]:
        """In order of receipt, but for up to the disorder; `behind`: a few much further back."""

        def place(event: Event) -> float:
            back = 60 * MINUTE if behind and self.rng.random() < 0.5 else DISORDER
            return float(event["received_at"] + self.rng.choice([0, 0, self.rng.randint(0, DISORDER), back]))

        return sorted(self.events, key=place)

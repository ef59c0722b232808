"""From a seed a topology and a history in which its conditions turn often: times lie around the edges of its windows,
to the millisecond; some things are told late, twice, or in one millisecond.

    made(seed, kind) -> (topology, events)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.oracle.build import BASE
from tests.oracle.language.lasting import LASTS
from tests.oracle.language.topologies import CARTS, EVENTS, FORMS, PATHS, PLANS, PRODUCTS, SOURCES, ZONES, topology
from tests.oracle.language.topology import duration

Event = dict[str, Any]
Told = dict[str, Any]

CART_EVENTS = (
    *("product_added", "product_added", "product_added", "product_removed", "product_removed", "cart_updated"),
    *("cart_cleared", "order_completed"),
)
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
DISORDER = 10_000
NEAR = ["UTC", "Europe/Vienna", "Europe/London"]
EMPTIED: Told = {"carts": True, "emptied": True, "conditions": False}
KINDS: dict[str, Told] = {
    "lengths": {"lengths": True, "again": True},
    "lengths and ties": {"lengths": True, "ties": True},
    "lengths on shared devices": {"lengths": True, "shared": True},
    "emptied carts": {**EMPTIED, "recovered": True, "again": True},
    "emptied carts and ties": {**EMPTIED, "recovered": True, "ties": True},
    "emptied carts in stages": {**EMPTIED, "staged": True, "ties": True},
    "emptied carts that compare": {**EMPTIED, "referring": True},
    "emptied carts that compare, and ties": {**EMPTIED, "referring": True, "recovered": True, "ties": True},
    "emptied carts after sequences": {**EMPTIED, "begins": ("sequence", "lasting"), "staged": True},
    "emptied carts after sequences, and ties": {**EMPTIED, "begins": ("sequence", "lasting"), "ties": True},
    "emptied carts that ask": {"carts": True, "emptied": True, "staged": True, "recovered": True, "asking": True},
    "values of carts": {"carts": True, "emptied": True, "values": True, "staged": True, "recovered": True},
    "values of carts and ties": {"carts": True, "emptied": True, "values": True, "conditions": False, "ties": True},
    "payloads": {"payloads": True, "staged": True, "again": True, "recovered": True},
    "payloads and ties": {"payloads": True, "staged": True, "ties": True},
    "messages that move": {"payloads": True, "messages": True},
    "messages that move, and ties": {"payloads": True, "messages": True, "ties": True},
    "payloads at once": {"payloads": True, "at_once": True, "again": True},
    "payloads of films": {"payloads": True, "films": True, "staged": True},
    "payloads of films and ties": {"payloads": True, "films": True, "ties": True},
    "events alone": {"conditions": False},
    "events and ties": {"conditions": False, "ties": True},
    "events on shared devices": {"conditions": False, "shared": True},
    "conditions": {},
    "conditions and ties": {"ties": True},
    "conditions on shared devices": {"shared": True},
    "recovered": {"recovered": True},
    "stages": {"staged": True, "recovered": True},
    "stages and ties": {"staged": True, "recovered": True, "ties": True},
    "again": {"staged": True, "recovered": True, "again": True},
    "again and ties": {"staged": True, "recovered": True, "again": True, "ties": True},
    "other starts": {"starts": True, "again": True},
    "other starts and ties": {"starts": True, "ties": True},
    "calendar": {"moved": True},
    "calendar and ties": {"moved": True, "ties": True},
    "at once": {"at_once": True, "again": True, "recovered": True},
    "at once and ties": {"at_once": True, "ties": True},
    "at once on shared devices": {"at_once": True, "again": True, "shared": True},
    "hours": {"hours": True},
    "hours and ties": {"hours": True, "ties": True},
    "made events": {"made": True, "staged": True, "again": True, "recovered": True},
    "made events and ties": {"made": True, "recovered": True, "ties": True},
    "made events on shared devices": {"made": True, "shared": True},
    "made events at once": {"made": True, "at_once": True, "again": True},
    "why segments change": {"made": True, "reasons": True, "payloads": True, "again": True},
    "why segments change and ties": {"made": True, "reasons": True, "ties": True},
    "stages that ask": {"staged": True, "again": True, "asking": True},
    "carts": {"carts": True, "staged": True, "asking": True},
    "carts and ties": {"carts": True, "ties": True},
    "nested traits": {"nested": True, "payloads": True, "again": True},
    "nested traits and ties": {"nested": True, "payloads": True, "ties": True},
    "films": {"films": True, "staged": True, "asking": True},
    "films and ties": {"films": True, "ties": True},
    "sequences": {"begins": ("sequence", "lasting"), "again": True, "consents": True},
    "sequences and ties": {"begins": ("sequence", "lasting"), "ties": True},
    "dates": {"begins": ("date", "yearly"), "again": True, "consents": True},
    "dates and ties": {"begins": ("date", "yearly"), "ties": True, "consents": True},
    "triggers": {"begins": ("trigger", "lasting"), "staged": True, "recovered": True, "consents": True},
    "triggers and ties": {"begins": ("trigger",), "ties": True, "again": True},
    "all starts on shared devices": {"begins": ("sequence", "lasting", "date", "trigger"), "shared": True},
}


def spans(told: Any) -> Iterator[int]:
    """Every duration in a topology (ms)."""
    if isinstance(told, dict):
        for value in told.values():
            yield from spans(value)
    elif isinstance(told, list):
        for value in told:
            yield from spans(value)
    elif isinstance(told, str):
        try:
            yield duration(told)
        except ValueError:
            return


class Story:
    """Collects events. `edges`: what times like to differ by."""

    def __init__(
        self,
        rng: Random,
        told: Told,
        *,
        ties: bool,
        shared: bool,
        moved: bool,
        carts: bool = False,
        films: bool = False,
        lengths: bool = False,
        payloads: bool = False,
        nested: bool = False,
        messages: bool = False,
    ) -> None:
        self.rng = rng
        self.lengths, self.payloads, self.nested, self.messages = lengths, payloads, nested, messages
        self.carts, self.films = carts, films
        found = [span for span in spans(told) if MINUTE <= span <= 3 * HOUR]
        self.edges = found + [span + 5 * MINUTE for span in found] + [5 * MINUTE]
        self.days = [span for span in spans(told) if 7 * DAY < span < 9 * DAY]
        self.people: list[list[tuple[str, str]]] = []
        for number in range(rng.choice([1, 1, 2, 3])):
            names = [("user_id", f"u{number}"), ("anonymous_id", f"a{number}"), ("email", f"p{number}@shop.example")]
            self.people.append(rng.sample(names, 2 if ties else 1))
        if shared:
            self.people += [
                [("user_id", "u7"), ("anonymous_id", "tablet")],
                [("user_id", "u8"), ("anonymous_id", "tablet")],
            ]
        self.tying, self.places, self.zones = ties or shared, lengths, NEAR
        self.moved = moved
        self.campaigns = "campaign" in str(told)
        self.events: list[Event] = []
        self.punctual = rng.choice([0.5, 0.8, 0.95])

    def when(self) -> int:
        """When something happens: somewhere, or just an edge away from something else."""
        rng = self.rng
        if not self.events or rng.random() < 0.25:
            return BASE + MINUTE * rng.choice([0, 1, 5, 10, 30, 60, 90, 120, rng.randrange(240)])
        near = rng.choice(self.events[-6:] if rng.random() < 0.7 else self.events)
        from_ = near[rng.choice(["occurred_at", "occurred_at", "received_at"])]
        if self.days and rng.random() < 0.2:  # days later, where its hour leaves a window
            hour = from_ // HOUR * HOUR
            return int(rng.choice([hour, hour, hour + HOUR, from_]) + rng.choice(self.days) + rng.choice([-1, 0, 1]))
        if rng.random() < 0.35:
            return int(from_ + rng.choice([0, 0, 1, MINUTE, 2 * MINUTE, 7 * MINUTE]))
        return int(from_ + rng.choice(self.edges) + rng.choice([-1, 0, 0, 1]))

    def delay(self) -> int:
        """How long after it happened it is received (ms)."""
        rng = self.rng
        if rng.random() < self.punctual:
            return 0
        if rng.random() < 0.05:
            return rng.choice([72 * HOUR, 72 * HOUR + 1, 73 * HOUR])
        return int(rng.choice([1, 1000, 4 * MINUTE, 5 * MINUTE, 5 * MINUTE + 1, *self.edges]))

    def who(self) -> dict[str, str]:
        """One identifier of somebody, now and then two, which ties them."""
        names = self.rng.choice(self.people)
        if self.tying and self.rng.random() < 0.12:
            return dict(names)
        return dict([self.rng.choice(names)])

    def body(self, kind: str) -> Told:
        """What it tells."""
        rng = self.rng
        cart = {"cart_id": rng.choice(CARTS)} if rng.random() < 0.85 else {}
        if self.carts and kind in CART_EVENTS:
            return self.goods(kind, cart)
        if kind == "product_added":
            return {**cart, "product_id": rng.choice(PRODUCTS), "price": rng.choice([5, 10, 12.5]), "quantity": 1}
        if kind == "product_removed":
            return {**cart, "product_id": rng.choice(PRODUCTS)}
        if kind == "product_viewed":
            return {"product_id": rng.choice(PRODUCTS)}
        if kind == "page_viewed":
            return {"path": rng.choice(PATHS)}
        if kind == "order_completed":
            total = {"total": rng.choice([20, 50, 60])} if rng.random() < 0.9 else {}
            order = f"o{len(self.events)}" if rng.random() < 0.9 else "o"
            return {**({} if rng.random() < 0.4 else cart), "order_id": order, **total}
        if kind == "form_submitted":
            lasts = {"lasts": rng.choice(LASTS)} if self.lengths else {}
            return {"form_id": rng.choice(FORMS), "fields": {**self.ends(), **lasts}}
        if kind == "cart_viewed":
            return cart
        if kind == "identified":
            traits = {"plan": rng.choice(PLANS), **self.ends()}
            if self.nested:
                traits |= self.company()
            if self.lengths and rng.random() < 0.3:
                traits["timezone"] = rng.choice(self.zones)
            return {"traits": traits} if rng.random() < 0.8 else {}
        if kind in ("email_sent", "email_clicked", "email_opened", "email_delivered"):
            sent = {"campaign": rng.choice(["spring", "summer"])} if rng.random() < 0.7 else {}
            return {"message_id": rng.choice(["m1", "m2", "<m1>"]), **sent}
        return {"message_id": "m"}

    def company(self) -> Told:
        """An object among the traits, as one text; or what is like one."""
        rng = self.rng
        if rng.random() < 0.25:
            return rng.choice([{}, {"company": "Acme"}, {"company.size": "70"}, {"company": '{"size": '}])
        inside: Told = {"size": rng.choice([10, 50, 50.5, "60", None]), "name": "Acme " + "x" * rng.choice([1, 1, 500])}
        inside["at"] = rng.choice([{"city": "Wien"}, {"city": "Graz", "country": "at"}, "Wien", None])
        if rng.random() < 0.5:
            inside["listed"] = rng.random() < 0.5
        told = {"company": json.dumps({name: inside[name] for name in rng.sample(sorted(inside), len(inside))})}
        if rng.random() < 0.2:
            told["company.size"] = "70"  # as it is told stands before what is in the object
        if rng.random() < 0.6 and (ends := self.ends()):
            told["contract"] = json.dumps(ends)
        return told

    def goods(self, kind: str, cart: Told) -> Told:
        """What changes a cart, or ends one."""
        rng = self.rng
        if kind == "cart_cleared":
            return {} if rng.random() < 0.3 else cart
        if kind == "order_completed":
            order = f"o{len(self.events)}" if rng.random() < 0.8 else "o"
            products = {"products": [self.product() for _ in range(rng.choice([1, 2]))]} if rng.random() < 0.6 else {}
            return {**({} if rng.random() < 0.3 else cart), "order_id": order, "total": 50, **products}
        if kind == "cart_updated":
            return {**cart, "products": [self.product() for _ in range(rng.choice([0, 1, 1, 2]))]}
        if rng.random() < 0.15:
            return {**cart, "products": [self.product() for _ in range(rng.choice([1, 2]))]}
        if kind == "product_removed" and rng.random() < 0.6:
            return {**cart, "product_id": rng.choice(PRODUCTS)}
        return {**cart, **self.product()}

    def product(self) -> Told:
        """One line, told as people tell them."""
        rng = self.rng
        told: Told = {"product_id": rng.choice(PRODUCTS)}
        if rng.random() < 0.9:
            told["price"] = rng.choice([5, 10, 12.5, 0.1])
        if rng.random() < 0.9:
            told["currency"] = rng.choice(["EUR", "EUR", "EUR", "eur", "USD"])
        if rng.random() < 0.7:
            told["quantity"] = rng.choice([1, 1, 2, 0.5, -1])
        if rng.random() < 0.2:
            told["variant"] = rng.choice(["red", "blue"])
        return told

    def play(self) -> None:
        """One more event of a player: most go on where its last left off."""
        rng = self.rng
        played = [event for event in self.events if event["type"].startswith("video_")]
        kind = rng.choice(["video_progressed"] * 6 + ["video_started", "video_paused", "video_resumed", "video_sought"])
        body: Told = {"film": rng.choice(["f", "g"]), "position": rng.choice([0, 10, 20])}
        if rng.random() < 0.8:
            body["session_id"] = rng.choice(["s1", "s2", "s3"])
        at, who = self.when(), self.who()
        if played and rng.random() < 0.75:
            last = rng.choice(played[-3:])
            passed = rng.choice([5, 10, 10, 20, 25])
            at, body = last["occurred_at"] + passed * 1000, {"film": last["body"]["film"]}
            if "session_id" in last["body"]:
                body["session_id"] = last["body"]["session_id"]
            body["position"] = last["body"]["position"] + rng.choice([passed, passed, passed * 2, passed * 3, -10])
            who = last["identifiers"] if rng.random() < 0.8 else who
        if self.payloads and rng.random() < 0.4:
            body["title"] = rng.choice(["Up", "Down"])
        if rng.random() < 0.85:
            body["total_length"] = rng.choice([40, 40, 40, 60, 0])
        if kind == "video_progressed" and rng.random() < 0.3:
            start = rng.choice([0, 10, 20, 30, 0.1])
            body |= {"watched_from": start, "watched_to": start + rng.choice([5, 10, 20, 0.2])}
        if kind == "video_sought":
            body |= {"seek_to": rng.choice([0, 15, 30]), "seek_from": body["position"]}
        self.put(kind, at, self.delay() if rng.random() < 0.6 else rng.choice([1, 1000, MINUTE]), who, body)

    def put(self, kind: str, at: int, delay: int, who: dict[str, str], body: Told) -> None:
        """One more event."""
        self.events.append(
            {
                "type": kind,
                "event_id": f"e{len(self.events):02d}-{self.rng.randrange(100):02d}",
                "occurred_at": at,
                "received_at": at + delay,
                "identifiers": who,
                "body": body,
            }
        )

    def ends(self) -> Told:
        """Perhaps a date, of that day in some year, or something else."""
        rng = self.rng
        if rng.random() < 0.4:
            return {}
        if rng.random() < 0.15:
            return {"ends": rng.choice(["soon", "2026-03-02"])}
        if self.places and rng.random() < 0.4:
            return {"ends": rng.choice(["2026-03-01", "2026-03-02", "2026-03-03", "2020-03-02", "2024-02-29"])}
        at = datetime.fromtimestamp(BASE / 1000, UTC) + timedelta(minutes=rng.randrange(0, 300, 5))
        return {"ends": at.replace(year=rng.choice([2020, 2026, 2026, 2026])).isoformat()}

    def tell(self) -> None:
        """One more event."""
        rng = self.rng
        if self.films and rng.random() < 0.6:
            self.play()
            return
        more = CART_EVENTS if self.carts else ()
        if self.payloads and rng.random() < (0.6 if self.messages else 0.15):
            more = (*more, *("email_sent",) * 30, *("email_clicked",) * 15)
            if self.messages:
                more = (*more, *("email_opened",) * 25, *("email_delivered",) * 5)
        more = (*more, *("identified",) * 8) if self.nested else more
        kind = rng.choice(
            [
                *more,
                *more,
                *EVENTS,
                *EVENTS,
                "product_viewed",
                "product_added",
                "product_removed",
                "identified",
                "email_unsubscribed",
            ]
        )
        at = self.when()
        told_late = rng.choice([MINUTE, 4 * MINUTE, 10 * MINUTE, *self.edges]) + rng.choice([0, 0, 1, MINUTE, HOUR])
        late = kind in ("order_completed", "email_unsubscribed") and rng.random() < 0.4
        self.events.append(
            {
                "type": kind,
                "event_id": f"e{len(self.events):02d}-{rng.randrange(100):02d}",
                "occurred_at": at,
                "received_at": at + (told_late if late else self.delay()),
                "identifiers": self.who(),
                "body": self.body(kind),
                **self.context(kind),
            }
        )
        if self.campaigns and rng.random() < 0.5:
            self.events[-1]["context"] = {"campaign": {"source": rng.choice(SOURCES)}}

    def context(self, kind: str) -> Told:
        """Perhaps where they are, and what they agree to."""
        rng = self.rng
        if self.moved:
            return {} if rng.random() < 0.7 else {"context": {"timezone": rng.choice(ZONES)}}
        told: Told = {}
        if self.places and (kind == "identified" or self.lengths) and rng.random() < (0.15 if self.lengths else 0.5):
            told["timezone"] = rng.choice(self.zones)
        if self.places and rng.random() < 0.15:
            told["consent"] = {"marketing": rng.random() < 0.5}
        return {"context": told} if told else {}

    def log(self) -> list[Event]:
        """Some told twice, in order of receipt but for up to the disorder."""
        rng = self.rng
        for event in rng.sample(self.events, len(self.events) // 12):
            later = rng.choice([0, 1, MINUTE, 70 * MINUTE])
            self.events.append({**event, "received_at": event["received_at"] + later})
        return sorted(self.events, key=lambda e: e["received_at"] + rng.choice([0, 0, rng.randint(0, DISORDER)]))


def made(seed: int, kind: str = "conditions") -> tuple[Told, list[Event]]:
    """A topology, and the log of one partition."""
    options = dict(KINDS[kind])
    rng = Random(f"{kind} {seed}")
    ties, shared = options.pop("ties", False), options.pop("shared", False)
    told = topology(rng, **options)
    moved, films, lengths = (options.get(name, False) for name in ("moved", "films", "lengths"))
    payloads, nested = options.get("payloads", False), options.get("nested", False)
    messages = options.get("messages", False)
    carts = options.get("carts", False) or lengths
    story = Story(
        rng,
        told,
        ties=ties,
        shared=shared,
        moved=moved,
        carts=carts,
        films=films,
        lengths=lengths,
        payloads=payloads,
        nested=nested,
        messages=messages,
    )
    story.places = "begins" in options or lengths
    story.zones = NEAR[:1] if "every" in str(told) else NEAR  # what opened by the zone known then stands
    if lengths:
        story.zones = [*NEAR, "America/New_York"]  # where the clocks change on the Sunday after
    for _ in range(rng.randint(10, rng.choice([20, 55]))):
        story.tell()
    return told, story.log()

"""The workload: a shop's events in our schemas, the same ones whenever the same numbers go in.

    stream(Workload())         300,000 events of 20,000 identities, 36 ms of event time apart, and four closing ones
    load(...)                  the same, into a Kafka topic
    carts_of_peers(...)        what the peers' one rule (a cart is left alone for an hour) has to find
    carts_of_ours(...)         what `abandoned_cart` has to fire, worked out here without a line of pipeline/
    decisions(...)             every decision of `pipeline replay`

Every event carries an anonymous id, by which the topic is keyed; 5 % are logins: they carry the user id too. One
person's events stand in order, those of different people up to four seconds out of it. The closing events, one a
partition, come four days later, so that everything that waits is decided when they have been read.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.events import schemas
from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.events.registry import Registry
from pipeline.runtime.replay import Replay
from pipeline.topology.model import Topology
from pipeline.triggers.decisions import Decision

START = 1_700_000_000_000
DISORDER_MS = 4_000
CLOSING_MS = 4 * 86_400_000
HOUR, LATENESS = 3_600_000, 300_000
LOGINS = 0.05
PARTITIONS = 4
FILM_SECONDS = 540.0
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120 Safari/537.36"

# Of a thousand events. `cart_gone` is a removal or a clear, `mail` and `film` go on where the person's last one stood.
MIX = {
    "page_viewed": 480, "product_viewed": 110, "element_clicked": 80, "product_added": 70, "film": 60, "mail": 50,
    "order_completed": 27, "searched": 30, "cart_viewed": 20, "identified": 15, "custom": 12, "form_submitted": 10,
    "checkout_started": 10, "cart_gone": 10, "asset_downloaded": 6, "offline_purchased": 3, "call_logged": 3,
    "store_visited": 2, "order_refunded": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """`events` without the closing ones. `step_ms`: event time from one to the next. `shared`: of a hundred people so
    many use a device together with another one (what peers and `carts_of_ours` know nothing of). `plain`: nothing is
    told that is only kept to tell it on or to know it again: locales, names of products, ids of orders.
    """

    events: int = 300_000
    identities: int = 20_000
    seed: int = 7
    step_ms: float = 36
    shared: int = 0
    plain: bool = False

    def device_of(self, who: int) -> int:
        """Whose device somebody uses."""
        return who - 1 if who % 2 and who // 2 * 2_654_435_761 % 100 < self.shared else who

    @property
    def total(self) -> int:
        """Records in the topic."""
        return self.events + PARTITIONS


@dataclass
class _Person:
    """What one person's next event goes on from."""

    number: int
    carts: int = 0
    purchases: int = 0
    lines: list[str] = field(default_factory=list)
    mails: int = 0
    mail_step: int = 0
    films: int = 0
    film_step: int = 0

    @property
    def cart(self) -> str:
        return f"c-{self.number}-{self.carts}"


def partition_of(key: str) -> int:
    """Where a record stands: the same for every contestant."""
    return zlib.crc32(key.encode()) % PARTITIONS


def stream(workload: Workload) -> Iterator[Event]:
    """All events, in the order of the log."""
    rand = random.Random(workload.seed)
    draw, number = rand.random, rand.randrange
    people: dict[int, _Person] = {}
    kinds, weights = list(MIX), list(MIX.values())
    for i in range(workload.events):
        who = int(workload.identities * draw() ** 1.5)  # some come often
        person = people.get(who)
        if person is None:
            person = people[who] = _Person(who)
        kind = rand.choices(kinds, weights)[0]
        kind, body = _MAKE[kind](person, rand)
        at = START + int(i * workload.step_ms) - who * 2_654_435_761 % DISORDER_MS
        identifiers = {"anonymous_id": f"a-{workload.device_of(who)}"}
        if kind == "identified" or draw() < (LOGINS - 0.015) / 0.985:
            identifiers["user_id"] = f"u-{who}"
        context = {
            "url": f"https://shop.example/p/{number(5000)}",
            "referrer": "https://shop.example/",
            "user_agent": AGENT,
            "locale": "de-AT",
        }
        if workload.plain:
            del context["locale"]
            body = {name: value for name, value in body.items() if name not in ("name", "order_id")}
        yield Event(kind, f"{rand.getrandbits(64):016x}", at, at, identifiers, body, context)
    closing = START + int(workload.events * workload.step_ms) + CLOSING_MS
    for partition in range(PARTITIONS):
        name = next(n for n in range(1_000) if partition_of(f"closing-{n}") == partition)
        yield Event("page_viewed", f"closing-{partition}", closing, closing, {"anonymous_id": f"closing-{name}"}, {})


def _page(person: _Person, rand: random.Random) -> tuple[str, dict[str, Any]]:
    page = rand.randrange(5000)
    engaged = rand.randrange(60_000)
    return "page_viewed", {
        "path": f"/p/{page}",
        "title": f"Product {page}",
        "page_view_id": f"{rand.getrandbits(48):012x}",
        "engaged_ms": engaged,
        "absolute_ms": engaged + 4_000,
    }


def _product(rand: random.Random) -> dict[str, Any]:
    product = rand.randrange(5000)
    return {
        "product_id": f"p{product}",
        "name": f"Product {product}",
        "category": "garden",
        "price": 9.5,
        "currency": "EUR",
    }


def _viewed(person: _Person, rand: random.Random) -> tuple[str, dict[str, Any]]:
    return "product_viewed", _product(rand)


def _added(person: _Person, rand: random.Random) -> tuple[str, dict[str, Any]]:
    body = _product(rand)
    person.lines.append(body["product_id"])
    return "product_added", {**body, "cart_id": person.cart, "quantity": 1}


def _gone(person: _Person, rand: random.Random) -> tuple[str, dict[str, Any]]:
    if person.lines and rand.random() < 0.8:
        product = person.lines[0]
        person.lines = [each for each in person.lines if each != product]
        return "product_removed", {"cart_id": person.cart, "product_id": product}
    body = {"cart_id": person.cart}
    person.lines = []
    return "cart_cleared", body


def _ordered(person: _Person, rand: random.Random) -> tuple[str, dict[str, Any]]:
    products = [{"product_id": each, "quantity": 1, "price": 9.5} for each in person.lines[:5]]
    total = 9.5 * len(person.lines)
    body: dict[str, Any] = {"order_id": f"o-{person.cart}", "cart_id": person.cart, "total": total, "currency": "EUR"}
    person.carts += 1
    person.lines = []
    return "order_completed", {**body, "products": products}


def _purchased(person: _Person, rand: random.Random) -> tuple[str, dict[str, Any]]:
    person.purchases += 1
    body = {"order_id": f"s-{person.cart}-{person.purchases}", "total": 20.0, "currency": "EUR", "location": "Vienna"}
    return "offline_purchased", body  # no cart id: it ends every cart of the person


def _mail(person: _Person, rand: random.Random) -> tuple[str, dict[str, Any]]:
    step = person.mail_step
    message = {"message_id": f"m-{person.number}-{person.mails}", "campaign": "autumn"}
    if step == 0:
        person.mail_step = 1
        links = ["ebook", "shop"] if (person.number + person.mails) % 2 == 0 else ["shop"]
        return "email_sent", {**message, "subject": "For you", "link_ids": links}
    over = step == 3 or rand.random() < 0.3
    person.mail_step = 0 if over else step + 1
    person.mails += over
    if step == 1:
        kinds = ["email_delivered"] * 9 + ["email_bounced"]
    elif step == 2:
        kinds = ["email_opened"]
    else:
        kinds = ["email_clicked"] * 8 + ["email_unsubscribed", "email_complained"]
    kind = rand.choice(kinds)
    if kind == "email_opened":
        message["confidence"] = rand.choice(["human", "machine", "unknown"])
    elif kind == "email_clicked":
        message |= {"link_id": rand.choice(["ebook", "shop"]), "confidence": rand.choice(["human", "machine"])}
    return kind, message


def _film(person: _Person, rand: random.Random) -> tuple[str, dict[str, Any]]:
    step = person.film_step
    name = f"f-{person.films % 7}"
    at = 180.0 * (step // 2)
    body = {
        "session_id": f"s-{person.number}-{person.films}",
        "film": name,
        "title": f"Film {name}",
        "total_length": FILM_SECONDS,
        "position": at,
    }
    person.film_step += 1
    if step == 0:
        return "video_started", body
    if step == 6:
        person.film_step = 0
        person.films += 1
        return "video_completed", {**body, "position": FILM_SECONDS}
    if step % 2:
        return "video_progressed", {**body, "watched_from": at, "watched_to": at + 180, "position": at + 180}
    kind = rand.choice(["video_paused", "video_resumed", "video_sought"])
    extra: dict[str, dict[str, Any]] = {
        "video_paused": {"cause": "paused"},
        "video_resumed": {},
        "video_sought": {"seek_from": at, "seek_to": at},
    }
    return kind, body | extra[kind]


def _plain(kind: str, **body: Any) -> Any:
    return lambda person, rand: (kind, dict(body))


def _on_cart(kind: str, **body: Any) -> Any:
    return lambda person, rand: (kind, {"cart_id": person.cart, **body})


_MAKE: dict[str, Any] = {
    "page_viewed": _page,
    "product_viewed": _viewed,
    "product_added": _added,
    "cart_gone": _gone,
    "order_completed": _ordered,
    "offline_purchased": _purchased,
    "mail": _mail,
    "film": _film,
    "element_clicked": _plain("element_clicked", element="link", link_id="more", text="Read more"),
    "searched": _plain("searched", query="garden chair", results=31),
    "cart_viewed": _on_cart("cart_viewed"),
    "checkout_started": _on_cart("checkout_started", value=19.0, currency="EUR"),
    "identified": _plain("identified", traits={"plan": "gold", "city": "Vienna"}),
    "custom": _plain("custom", name="Chat Opened", properties={"topic": "delivery"}),
    "form_submitted": _plain("form_submitted", form_id="newsletter", fields={"source": "footer"}),
    "asset_downloaded": _plain("asset_downloaded", asset="catalogue", url="https://shop.example/catalogue.pdf"),
    "call_logged": _plain("call_logged", direction="in", duration_s=212.0, outcome="solved"),
    "store_visited": _plain("store_visited", location="Vienna"),
    "order_refunded": _plain("order_refunded", order_id="o-1", total=9.5, currency="EUR"),
}


# What has to come out.


def carts_of_peers(workload: Workload) -> set[tuple[str, str]]:
    """(cart id, event id of its last addition) of every cart that was not added to and not ordered for an hour."""
    last: dict[str, tuple[int, str]] = {}
    out = set()
    for event in stream(workload):
        cart, at = event.body.get("cart_id"), event.occurred_at
        if event.type == "product_added" and cart:
            before = last.get(cart)
            if before and at > before[0] + HOUR:
                out.add((cart, before[1]))
            last[cart] = (at, event.event_id)
        elif event.type == "order_completed" and cart in last:
            before = last.pop(cart)
            if at > before[0] + HOUR:
                out.add((cart, before[1]))
    return out | {(cart, name) for cart, (_, name) in last.items()}  # the closing events are days later


@dataclass
class _Cart:
    """`due`: when the open wait ends. `ran_out`: (due, cause) of one that did, and may yet be overtaken."""

    lines: set[str] = field(default_factory=set)
    due: int | None = None
    cause: str = ""
    ran_out: tuple[int, str] | None = None


def carts_of_ours(workload: Workload) -> set[tuple[str, str]]:
    """(cart id, cause's event id) of what `abandoned_cart` fires, by what the rule says and nothing else.

    Enough for this workload only: one person's events stand in order, none is late, and a cart is on one device.
    """
    carts: dict[str, dict[str, _Cart]] = {}
    out: set[tuple[str, str]] = set()
    for event in stream(workload):
        if event.type not in _CART_EVENTS:
            continue
        mine = carts.setdefault(event.identifiers["anonymous_id"], {})
        name, at = event.body.get("cart_id"), event.occurred_at
        for key in [name] if name else list(mine):
            cart = mine.setdefault(key, _Cart())
            if cart.due is not None and at > cart.due:
                cart.ran_out, cart.due = (cart.due, cart.cause), None
            if cart.ran_out is not None and at > cart.ran_out[0] + LATENESS:
                out.add((key, cart.ran_out[1]))
                cart.ran_out = None
            _touch(cart, event)
    for mine in carts.values():
        for key, cart in mine.items():
            if cart.ran_out is not None:
                out.add((key, cart.ran_out[1]))
            if cart.due is not None:
                out.add((key, cart.cause))
    return out


_CART_EVENTS = {
    "product_added", "product_removed", "cart_viewed", "cart_cleared", "order_completed", "offline_purchased",
}  # fmt: skip


def _touch(cart: _Cart, event: Event) -> None:
    kind = event.type
    if kind == "product_added":
        cart.lines.add(event.body["product_id"])
        cart.ran_out = None  # overtaken
    elif kind == "product_removed":
        was = bool(cart.lines)
        cart.lines.discard(event.body["product_id"])
        if was and not cart.lines:
            cart.due = cart.ran_out = None
            return
    elif kind != "cart_viewed":
        cart.lines.clear()
        cart.due = cart.ran_out = None
        return
    if kind == "product_added" or cart.due is not None:
        cart.due, cart.cause = event.occurred_at + HOUR, event.event_id


def decisions(workload: Workload, topology: Topology) -> list[Decision]:
    """What `pipeline replay` decides, of all rules, in order, up to where the closing events bring a worker."""
    replay = Replay(topology)
    out: list[Decision] = []
    last = 0
    for event in stream(workload):
        out += replay.feed(event, 1 << 60)
        last = event.received_at
    out += replay.finish()
    return [each for each in out if each.decided_at < last - topology.time.disorder_ms]


def register(registry: Registry, topic: str) -> None:
    """All types of events, for that topic."""
    for name in schemas.names():
        registry.register(schemas.subject(topic, name), schemas.text(name))


def load(bootstrap: str, registry: Registry, topic: str, workload: Workload) -> int:
    """Write the workload into a topic that is there. Returns the bytes of all values."""
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4", "acks": "all",
         "enable.idempotence": True, "queue.buffering.max.messages": 1_000_000}
    )  # fmt: skip
    register(registry, topic)
    encoder = Encoder(registry)
    size = 0
    for event in stream(workload):
        key = event.identifiers["anonymous_id"]
        value = encoder.encode(topic, event)
        size += len(value)
        while True:
            try:
                producer.produce(topic, key=key.encode(), value=value, partition=partition_of(key))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} of {workload.total} records did not reach {topic} at {bootstrap}")
    return size

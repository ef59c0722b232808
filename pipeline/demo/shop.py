"""A week in a small outdoor shop: some 3,000 events in Segment's format, the same each time.

Five people have a story, of which the demo tells at its end; the others browse, leave carts, buy, read newsletters and
watch films as dice fall.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

DAY = 86_400_000
HOUR = 3_600_000
MINUTE = 60_000
SECOND = 1_000
MONDAY = int(datetime(2025, 11, 24, tzinfo=UTC).timestamp() * 1000)
SEED = 24_11

PRODUCTS = {
    "tent": 249.0,
    "stove": 89.5,
    "headlamp": 39.9,
    "backpack": 129.0,
    "sleeping-bag": 179.0,
    "boots": 159.0,
    "rope": 74.5,
    "map": 12.9,
}
FILMS = {"ridge": ("Winter on the Ridge", 2400.0), "rivers": ("Two Rivers", 1800.0)}
GUIDE = "winter-guide"

NAMES = """
    alma bela carl dora emil fina gero hana igor jule karl lena milo nina otto paul quin rosa sven tilda udo vera wim
    xenia yann zoe anton berta cleo dario elsa finn greta hugo ida jano kira lars mona nils olga pepe rita simon tara
    ulf vito wanda yara zeno arne britt cora dirk edda falk gina
"""

Json = dict[str, Any]


class Shop:
    """Writes down who did what, when. `at` is UTC ms of the doing; receipt follows within a second unless given."""

    def __init__(self) -> None:
        self.dice = random.Random(SEED)
        self.lines: list[tuple[int, Json]] = []

    def call(self, kind: str, at: int, who: Json, received: int | None = None, **parts: Any) -> str:
        """One call of Segment's API; returns its message id."""
        number = f"e{len(self.lines) + 1:04d}"
        received = at + self.dice.randint(80, 900) if received is None else received
        line = {"type": kind, "messageId": number, **who, **parts, "timestamp": iso(at), "receivedAt": iso(received)}
        self.lines.append((received, line))
        return number

    def track(self, name: str, at: int, who: Json, received: int | None = None, **properties: Any) -> str:
        """Something somebody did."""
        return self.call("track", at, who, received, event=name, properties=properties)

    def page(self, at: int, who: Json, path: str) -> None:
        """A page read, with the time spent on it."""
        spent = self.dice.randint(3, 90) * SECOND
        self.call("page", at, who, properties={"path": path, "engaged_ms": spent, "absolute_ms": spent * 2})

    def browse(self, at: int, who: Json, products: list[str]) -> int:
        """A visit; returns when it ended."""
        self.page(at, who, "/")
        for product in products:
            at += self.dice.randint(15, 150) * SECOND
            self.page(at, who, f"/products/{product}")
            self.track("Product Viewed", at + SECOND, who, product_id=product, price=PRODUCTS[product], currency="EUR")
        return at + self.dice.randint(10, 60) * SECOND

    def add(self, at: int, who: Json, cart: str, product: str, quantity: int = 1) -> str:
        """Something into a cart."""
        price = PRODUCTS[product]
        told: Json = {"cart_id": cart, "product_id": product, "price": price, "currency": "EUR", "quantity": quantity}
        return self.track("Product Added", at, who, **told)

    def watch(self, at: int, who: Json, film: str, start: float, seconds: float, every: float = 30.0) -> int:
        """A stretch of a film, as a player tells it: a position every half minute. Returns when it ended."""
        title, length = FILMS[film]
        told: Json = {"session_id": f"{film}-{at}", "content_asset_id": film, "title": title, "total_length": length}
        self.track("Video Content Started", at, who, **told, position=start)
        passed = every
        while passed < seconds:
            now = at + int(passed * SECOND)
            self.track("Video Content Playing", now, who, **told, position=start + passed)
            passed += every
        end = at + int(seconds * SECOND)
        self.track("Video Playback Paused", end, who, **told, position=start + seconds)
        return end

    def newsletter(self, at: int, name: str, message: str) -> None:
        """The guide goes out; a mail server's scanner follows every link within seconds."""
        who = {"userId": name}
        mail: Json = {"message_id": message, "campaign": GUIDE}
        self.track("Email Sent", at, who, **mail, link_ids=["ebook", "unsubscribe"], subject="Your winter guide")
        self.track("Email Delivered", at + 4 * SECOND, who, **mail)
        if self.dice.random() < 0.3:
            self.track("Email Link Clicked", at + 9 * SECOND, who, **mail, link_id="ebook", confidence="machine")


def recording() -> list[str]:
    """The week, a line an event, in order of receipt. Two lines are of no use, as in every recording."""
    shop = Shop()
    mara(shop)
    jonas(shop)
    pia(shop)
    tom(shop)
    for number, name in enumerate(NAMES.split()):
        somebody(shop, name, number)
    ruth(shop)
    shop.lines.append((MONDAY + 30 * HOUR, {"type": "track", "event": "Product Viewed", "properties": {}}))
    shop.lines[-1][1].update(messageId="nobody", userId="null", timestamp=iso(MONDAY + 30 * HOUR))
    lines = [json.dumps(line) for _, line in sorted(shop.lines, key=lambda pair: (pair[0], pair[1]["messageId"]))]
    lines.insert(len(lines) // 2, '{"type": "track", "event": "Product Vi')
    return lines


def mara(shop: Shop) -> None:
    """Two devices. The tent left on the phone was bought on the laptop; the stove was just left."""
    phone, laptop = {"anonymousId": "mara-phone"}, {"anonymousId": "mara-laptop", "userId": "mara"}
    person: Json = {"traits": {"email": "mara@example.org", "name": "Mara"}}
    shop.newsletter(MONDAY + 9 * HOUR, "mara", "guide-mara")
    shop.call("identify", MONDAY + 18 * HOUR + 38 * MINUTE, laptop, **person)
    shop.browse(MONDAY + 18 * HOUR + 40 * MINUTE, laptop, ["backpack", "tent"])
    at = shop.browse(MONDAY + 18 * HOUR + 57 * MINUTE, phone, ["tent"])
    shop.add(MONDAY + 19 * HOUR + 2 * MINUTE, phone, "mara-1", "tent")
    shop.page(at + 5 * MINUTE, phone, "/shipping")
    shop.track(
        "Order Completed", MONDAY + 19 * HOUR + 24 * MINUTE, laptop, order_id="o-1001", total=249.0, currency="EUR"
    )
    shop.call("identify", MONDAY + 19 * HOUR + 41 * MINUTE, {**phone, "userId": "mara"}, **person)
    mail: Json = {"message_id": "guide-mara", "campaign": GUIDE}
    opened = MONDAY + DAY + 7 * HOUR + 12 * MINUTE
    shop.track("Email Opened", opened, {"userId": "mara"}, **mail, confidence="human")
    shop.watch(MONDAY + DAY + 20 * HOUR, laptop, "ridge", 0.0, 1290.0, every=120.0)
    wednesday = MONDAY + 2 * DAY + 17 * HOUR
    shop.browse(wednesday, laptop, ["boots"])
    shop.add(wednesday + 9 * MINUTE, laptop, "mara-2", "boots")
    order: Json = {"cart_id": "mara-2", "order_id": "o-1002", "total": 159.0, "currency": "EUR"}
    shop.track("Order Completed", wednesday + 15 * MINUTE, laptop, **order)
    known = {**phone, "userId": "mara"}
    thursday = MONDAY + 3 * DAY + 12 * HOUR
    shop.browse(thursday, known, ["stove", "stove"])
    shop.add(thursday + 10 * MINUTE, known, "mara-3", "stove")
    shop.add(thursday + 12 * MINUTE, known, "mara-3", "map", 2)
    shop.track("Cart Viewed", thursday + 18 * MINUTE, known, cart_id="mara-3")


def jonas(shop: Shop) -> None:
    """Half a film in two sittings on two devices, the first minutes twice; nothing ordered."""
    tablet, tv = {"anonymousId": "jonas-tablet", "userId": "jonas"}, {"anonymousId": "jonas-tv", "userId": "jonas"}
    tuesday = MONDAY + DAY + 19 * HOUR
    shop.call("identify", tuesday, tablet, traits={"email": "jonas@example.org"})
    shop.watch(tuesday + 2 * MINUTE, tablet, "ridge", 0.0, 780.0)
    shop.watch(tuesday + DAY, tv, "ridge", 480.0, 750.0)


def pia(shop: Shop) -> None:
    """Her order was made in a tunnel: the app told of it when the reminder was out."""
    app = {"anonymousId": "pia-app", "userId": "pia"}
    tuesday = MONDAY + DAY + 11 * HOUR
    shop.browse(tuesday - 10 * MINUTE, app, ["rope", "boots"])
    shop.add(tuesday, app, "pia-1", "rope", 2)
    order: Json = {"cart_id": "pia-1", "order_id": "o-1003", "total": 149.0, "currency": "EUR"}
    shop.track("Order Completed", tuesday + 40 * MINUTE, app, received=tuesday + 4 * HOUR + 20 * MINUTE, **order)


def tom(shop: Shop) -> None:
    """Reads his mail: clicks the guide on the second day."""
    shop.newsletter(MONDAY + 9 * HOUR + 30 * SECOND, "tom", "guide-tom")
    at = MONDAY + DAY + 8 * HOUR
    mail: Json = {"message_id": "guide-tom", "campaign": GUIDE}
    shop.track("Email Opened", at, {"userId": "tom"}, **mail, confidence="human")
    shop.track("Email Link Clicked", at + 20 * SECOND, {"userId": "tom"}, **mail, link_id="ebook", confidence="human")


def ruth(shop: Shop) -> None:
    """The reminder reached her: she bought an hour later what she had left."""
    who = {"anonymousId": "ruth-phone", "userId": "ruth"}
    friday = MONDAY + 4 * DAY + 16 * HOUR
    shop.add(shop.browse(friday, who, ["headlamp"]), who, "ruth-1", "headlamp")
    order: Json = {"cart_id": "ruth-1", "order_id": "o-1004", "total": 39.9, "currency": "EUR"}
    shop.track("Order Completed", friday + 2 * HOUR + 10 * MINUTE, who, **order)


def somebody(shop: Shop, name: str, number: int) -> None:
    """One of the others."""
    dice = shop.dice
    phone, computer = {"anonymousId": f"{name}-phone"}, {"anonymousId": f"{name}-computer"}
    if dice.random() < 0.7:
        shop.call("identify", MONDAY + 8 * HOUR + number * MINUTE, {**computer, "userId": name})
        if dice.random() < 0.6:
            sent = MONDAY + 9 * HOUR + number * 40 * SECOND
            shop.newsletter(sent, name, f"guide-{name}")
            if dice.random() < 0.4:
                told: Json = {"message_id": f"guide-{name}", "campaign": GUIDE, "confidence": "human"}
                clicked = sent + dice.randint(10, 60 * 50) * MINUTE
                shop.track("Email Link Clicked", clicked, {"userId": name}, **told, link_id="ebook")
        computer["userId"] = name
    for visit in range(dice.randint(3, 8)):
        start = MONDAY + dice.randint(0, 5) * DAY + int(dice.triangular(7, 22, 19) * HOUR)
        who = phone if dice.random() < 0.4 else computer
        viewed = dice.choices(list(PRODUCTS), k=dice.randint(1, 5))
        at = shop.browse(start, who, viewed)
        if dice.random() < 0.45:
            cart = f"{name}-{visit + 1}"
            for product in dict.fromkeys(viewed[:2]):
                at += dice.randint(20, 120) * SECOND
                shop.add(at, who, cart, product, dice.randint(1, 2))
            ending(shop, at, who, cart, viewed)
        if who is phone and "userId" in computer and dice.random() < 0.3:
            shop.call("identify", at + 3 * MINUTE, {**phone, "userId": name})
            phone["userId"] = name
    if dice.random() < 0.25:
        film = dice.choice(list(FILMS))
        start = MONDAY + dice.randint(0, 4) * DAY + dice.randint(18, 22) * HOUR + dice.randint(0, 59) * MINUTE
        shop.watch(start, computer, film, 0.0, dice.choice([400.0, 950.0, 1300.0]))


def ending(shop: Shop, at: int, who: Json, cart: str, viewed: list[str]) -> None:
    """How a cart ends: left, bought, cleared or emptied."""
    dice = shop.dice
    how = dice.random()
    later = at + dice.randint(3, 50) * MINUTE
    if how < 0.40:
        total = round(sum(PRODUCTS[p] for p in dict.fromkeys(viewed[:2])), 2)
        told: Json = {"cart_id": cart, "order_id": f"o-{cart}", "total": total, "currency": "EUR"}
        shop.track("Order Completed", later, who, **told)
    elif how < 0.48:
        shop.track("Cart Cleared", later, who, cart_id=cart)
    elif how < 0.56:
        for product in dict.fromkeys(viewed[:2]):
            shop.track("Product Removed", later, who, cart_id=cart, product_id=product)


def iso(ms: int) -> str:
    """ISO 8601 with milliseconds, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

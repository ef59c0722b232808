"""Scenes of little nasty histories: what people really send, on top of the plain kind (story.py).

One millisecond for several things, orders told twice, cart ids that change, products named in several ways, variants,
decimals, odd quantities, Cart Updated, lists, bounces and complaints, odd spellings, addresses as user ids, contexts.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.oracle.story import CART_STEPS, DAY, MS, Event, Person, Story

STANDS_FOR_NOBODY = ["null", "undefined", "[object Object]", "False", "guest", "nil", "0"]
CATALOGUE: list[dict[str, Any]] = [
    {"product_id": "p", "sku": "P-1", "name": "Pan", "price": 10},
    {"product_id": "q", "sku": "Q-1", "name": "Pot", "price": 2.5},
    {"product_id": "o", "sku": "O-1", "name": "Oil", "price": 1.125},
    {"product_id": "s", "sku": "S-1", "name": "Shirt", "price": 15, "variant": "S"},
    {"product_id": "s", "sku": "S-2", "name": "Shirt", "price": 16.005, "variant": "L"},
    {"product_id": "t", "sku": "T-1", "name": "Tea", "price": 0.335, "variant": "green"},
]
NAMINGS = [["product_id"]] * 4 + [["product_id", "sku"], ["sku"], ["name"], ["sku", "name"], ["product_id", "name"], []]
QUANTITIES = [1, 1, 1, 2, 3, None, None, 1.0, 0.1, 0.1, 0.2, 0.3, 0, -1, -2]
ODD_CARTS = [None, " c1 ", "c2", "undefined", "null"]
LOOKED_AT = (
    *("product_added", "product_removed", "cart_viewed", "cart_updated", "cart_cleared", "order_completed"),
    *("offline_purchased", "asset_downloaded", "email_sent", "email_clicked", "email_bounced", "identified"),
    *("email_complained", "email_unsubscribed", "video_started", "video_progressed", "video_paused"),
)
TOLD_AGAIN = [-40, -10, -5, -1, -MS, 0, 0, MS, 1, 5, 15, 40, 60, 62, 70, DAY, 3 * DAY]
BOUNCED = [-3 * DAY, -DAY, -5, -MS, 0, 0, 1, DAY, DAY, 2 * DAY, 3 * DAY, 3 * DAY + MS, 3 * DAY + 2]
MUCH_LATER = [29 * DAY, 30 * DAY + 10, 31 * DAY]


def spelt(rng: Random, namespace: str, value: str) -> str:
    """An identifier as people spell it."""
    kind = rng.choice(["quotes", "percent", "blanks", "address"])
    if kind == "address" and "@" in value:
        named = [f"Ann B. <{value}>", f'"A" <{value.title()}>']
        return rng.choice([f"mailto:{value}", value.upper(), value.replace("@", "\u200b@"), *named])
    if len(value) == 36:
        value = rng.choice([value, value.upper()])
    return {"quotes": f'"{value}"', "percent": f"%22{value}%22"}.get(kind, f" {value}  ")


class RealPerson(Person):
    """Identifiers that are spelt in several ways; a user id may be an e-mail address, a device a UUID."""

    def __init__(self, rng: Random, number: int, *, segment: bool) -> None:
        super().__init__(rng, number, segment=segment)
        address = rng.choice([f"p{number}@shop.example", f"P{number}@Shop.example", f"boss{number}@shop.example"])
        other: dict[str, str] = {}
        self.last: dict[str, str] = {}
        if rng.random() < 0.35:
            other["user_id"] = address
        if rng.random() < 0.3:
            other["device_id"] = f"7b2e0c9a-1f3d-4d7e-9a55-{number:012x}"
        self.names = [(namespace, other.get(namespace, value)) for namespace, value in self.names]

    def one(self) -> dict[str, str]:
        """One identifier or two, often those of last time, now and then oddly spelt."""
        if not self.last or self.rng.random() < 0.45:
            self.last = super().one()
        return self.odd(self.last)

    def two(self) -> dict[str, str]:
        """Two identifiers, now and then oddly spelt."""
        return self.odd(super().two())

    def odd(self, names: dict[str, str]) -> dict[str, str]:
        """The same, as they are told: oddly spelt, or with one that stands for nobody beside them."""
        rng = self.rng
        names = {space: spelt(rng, space, value) if rng.random() < 0.12 else value for space, value in names.items()}
        if rng.random() < 0.05:
            nobody = rng.choice(STANDS_FOR_NOBODY)
            names.setdefault(rng.choice(["user_id", "anonymous_id"]), rng.choice([nobody, f'"{nobody}"']))
        return names


class RealStory(Story):
    """Scenes with all that.

    `orders`: ids of what was ordered, to be told again. `lately`: products in the cart of this scene.
    """

    def __init__(self, seed: int, *, segment: bool) -> None:
        super().__init__(seed, segment=segment)
        self.orders: list[str] = []
        self.lately: list[dict[str, Any]] = []
        self.currency = self.rng.choice(["EUR", "EUR", "EUR", "KWD", "JPY", "XYZ"])
        self.lists = self.rng.choice([0.0, 0.2, 0.6])

    def tell(self, type_: str, at: float, who: dict[str, str], got: float | None = None, **body: Any) -> Event:
        """One event, now and then with a context or traits."""
        told = super().tell(type_, at, who, got, **body)
        rng = self.rng
        if type_ == "identified" and rng.random() < 0.6:
            told["body"]["traits"] = self.traits()
        if type_ in LOOKED_AT and rng.random() < 0.12:
            told["context"] = self.some({"locale": ["de-AT", "en", " fr "], "timezone": ["Europe/Vienna", "UTC"]})
        return told

    def traits(self) -> dict[str, str]:
        """What somebody tells of themselves."""
        return self.some(
            {
                "name": ["Ann Berg", " Bo ", ""],
                "first_name": ["Ann", " Bo"],
                "last_name": ["Berg", ""],
                "locale": ["it", "en"],
                "timezone": ["Asia/Tokyo"],
            }
        )

    def some(self, choices: dict[str, list[str]]) -> dict[str, str]:
        """Some of these fields."""
        return {name: self.rng.choice(values) for name, values in choices.items() if self.rng.random() < 0.5}

    # --- carts

    def item(self, product: dict[str, Any] | None = None, *, quantity: bool = True) -> dict[str, Any]:
        """A product as one place of a shop names it."""
        rng = self.rng
        product = product or rng.choice(CATALOGUE)
        if quantity:
            self.lately.append(product)
        told = {name: product[name] for name in rng.choice(NAMINGS)}
        if rng.random() < 0.1:
            told = {name: f" {value} " for name, value in told.items()}
        if told and "variant" in product and rng.random() < 0.7:
            told["variant"] = product["variant"]
        if quantity:
            told["quantity"] = rng.choice(QUANTITIES)
            told["price"] = rng.choice([product["price"]] * 8 + [product["price"] + 1, None])
            spellings = [self.currency.lower(), f" {self.currency} ", "USD", None]
            told["currency"] = rng.choice([self.currency] * 8 + spellings)
            if rng.random() < 0.01:
                told |= {"quantity": 1e308, "price": 2}
            if rng.random() < 0.1:
                told |= {"url": "https://shop.example/it", "image_url": "https://cdn.example/it.png"}
        return {name: value for name, value in told.items() if value is not None}

    def items(self) -> list[dict[str, Any]]:
        """Some products."""
        return [self.item() for _ in range(self.rng.randint(1, 3))]

    def ordered(self) -> list[dict[str, Any]]:
        """What an order holds: mostly what is in the cart of this scene, or some of it."""
        rng = self.rng
        if not self.lately or rng.random() < 0.15:
            return [self.item(quantity=False) for _ in range(rng.randint(1, 3))]
        some = self.lately if rng.random() < 0.6 else rng.sample(self.lately, rng.randint(1, len(self.lately)))
        return [self.item(product, quantity=False) for product in some]

    def key(self, key: str | None) -> str | None:
        """A cart id, mostly this one, now and then oddly spelt."""
        return self.rng.choice([f" {key}" if key else "null", None, "c1"]) if self.rng.random() < 0.06 else key

    def cart(self, person: Person) -> None:
        """Some activity around one cart, often within one millisecond."""
        if self.rng.random() < 0.3:
            self.switched(person)
            return
        rng, at = self.rng, self.when()
        key = rng.choice([None, None, "c1", "c2", rng.choice(ODD_CARTS)])
        self.lately = []
        crowded = rng.choice([0.0, 0.1, 0.6])
        kinds = ["add"] * 4 + ["remove"] * 3 + ["view", "order", "order", "clear", "update"]
        for step in range(rng.randint(1, 8)):
            kind = "add" if step == 0 and rng.random() < 0.8 else rng.choice(kinds)
            told = self.key(key)
            if kind == "add":
                self.changed("product_added", person, at, told)
            elif kind == "remove":
                self.changed("product_removed", person, at, told)
            elif kind == "update":
                products = rng.choice([None, [], self.items(), self.items(), self.items()])
                got = at + rng.choice([60, 66, 70]) if rng.random() < 0.2 else None
                self.tell(
                    "cart_updated", at, person.one(), got, cart_id=told, currency=self.currency, products=products
                )
            elif kind == "view":
                self.tell("cart_viewed", at, person.one(), cart_id=told)
            elif kind == "clear":
                self.tell("cart_cleared", at, person.one(), self.late(at), cart_id=rng.choice([told, None]))
            else:
                self.order(person, at, rng.choice([told, None, "c1", "c3", "c3"]))
            at += 0 if rng.random() < crowded else rng.choice(CART_STEPS)

    def switched(self, person: Person) -> None:
        """A cart or two filled, and bought under another cart id: before D, after it, or told late."""
        rng, at = self.rng, self.when()
        self.lately = []
        keys: list[list[str | None]] = [["c1"], [None], ["c1", "c2"]]
        for key in rng.choice(keys):
            for _ in range(rng.randint(1, 2)):
                product = rng.choice(CATALOGUE)
                item = {**self.item(product), "quantity": rng.choice([1, 2, None]), "product_id": product["product_id"]}
                at += rng.choice([0, MS, 5])
                self.tell("product_added", at, person.one(), at, cart_id=key, **item)
        if rng.random() < 0.4:
            self.tell("identified", at, person.two(), at + rng.choice([0, 1, 66]))
        bought = at + rng.choice([-1, 0, MS, 10, 30, 60, 60 + MS, 62])
        got = bought + rng.choice([0, 0, 5, 60, 66, 70, DAY])
        products = self.ordered() if rng.random() < 0.4 else [self.named(product) for product in self.lately]
        order_id = f"o{len(self.events)}"
        self.orders.append(order_id)
        self.one_telling(person, bought, got, rng.choice(["c3", "c3", "c2"]), order_id, products)
        if rng.random() < 0.3:
            self.changed("product_added", person, at + rng.choice([1, 10, 61, 66, 80]), "c1")

    def named(self, product: dict[str, Any]) -> dict[str, Any]:
        """A product by all its names."""
        return {name: value for name, value in product.items() if name != "price"}

    def changed(self, type_: str, person: Person, at: float, key: str | None) -> None:
        """Products added or removed, one or a list."""
        known = self.lately and type_ == "product_removed" and self.rng.random() < 0.7
        body = self.item(self.rng.choice(self.lately) if known else None)
        if self.rng.random() < self.lists:
            body = {**(body if self.rng.random() < 0.1 else {}), "products": self.items(), "currency": self.currency}
        self.tell(type_, at, person.one(), cart_id=key, **body)

    def order(self, person: Person, at: float, key: str | None) -> None:
        """An order through any channel, told once or more often, with its products or without."""
        rng = self.rng
        order_id = f"o{len(self.events)}"
        if rng.random() < 0.12:
            order_id = rng.choice([*self.orders, "undefined", "null"])
        self.orders.append(order_id)
        products = self.ordered() if rng.random() < 0.6 else None
        self.one_telling(person, at, self.late(at), key, order_id, products)
        while rng.random() < 0.3:  # told again
            again = at + (rng.choice(MUCH_LATER) if rng.random() < 0.05 else rng.choice(TOLD_AGAIN))
            others = rng.choice([products, products, None, self.ordered()])
            cart = rng.choice([key, key, None, "c1", "c3"])
            spelling = rng.choice([order_id, order_id, f" {order_id}"])
            self.one_telling(person, again, self.late(again), cart, spelling, others)

    def one_telling(
        self, person: Person, at: float, got: float | None, key: str | None, order_id: str, products: Any
    ) -> None:
        """One event that tells an order."""
        rng = self.rng
        own = not self.segment and rng.random() < 0.2
        channel = None if own else rng.choice([None, None, "offline"])
        self.tell(
            "offline_purchased" if own else "order_completed",
            at,
            person.one(),
            got,
            cart_id=key,
            order_id=order_id,
            channel=channel,
            products=products,
        )

    # --- e-mails

    def ebook(self, person: Person, other: Person) -> None:
        """A message, with clicks, bounces and complaints before and after it; ids in several spellings."""
        first = len(self.events)
        super().ebook(person, other)
        rng = self.rng
        sent = self.events[first]
        message, at = sent["body"]["message_id"], self.after_base(sent["occurred_at"])
        for _ in range(rng.choice([0, 1, 1, 2])):
            happened = at + rng.choice(
                [-3 * DAY, -DAY, -5, -MS, 0, 0, 1, DAY, DAY, 2 * DAY, 3 * DAY, 3 * DAY + MS, 3 * DAY + 2]
            )
            type_ = rng.choice(["email_bounced", "email_bounced", "email_complained", "email_unsubscribed", "click"])
            body: dict[str, Any] = {"message_id": rng.choice([message, message, "m1", None])}
            if type_ == "email_bounced":
                body["kind"] = rng.choice([None, "hard", "Hard Bounce", "soft", "Soft-Bounce", "transient", "blocked"])
            if type_ == "click":
                type_, body = "email_clicked", {"message_id": message, "link_id": "ebook"}
            got = self.after_reminder(at, happened)
            if at < happened < at + 3 * DAY and rng.random() < 0.3:
                got = at + 3 * DAY + rng.choice([6, 60])
            self.tell(type_, happened, person.one(), got, **body)
        for event in self.events[first:]:
            self.misspell(event["body"])
        for event in self.events[first + 1 :]:
            if event["event_id"] == sent["event_id"]:  # one id is one event
                event["body"] = dict(sent["body"])
                event.pop("context", None)
                event |= {"context": sent["context"]} if "context" in sent else {}

    def misspell(self, body: dict[str, Any]) -> None:
        """Message ids in brackets, link ids in capitals, blanks around both."""
        rng = self.rng
        if "message_id" in body and rng.random() < 0.3:
            message = body["message_id"]
            body["message_id"] = rng.choice([f"<{message}>", f" {message} ", f" <{message}>", message])
        if "message_id" in body and rng.random() < 0.03:
            body["message_id"] = rng.choice(["undefined", "<null>"])
        if "link_id" in body and rng.random() < 0.3:
            body["link_id"] = rng.choice([" {} ", "{}"]).format(rng.choice([body["link_id"].upper(), body["link_id"]]))
        if "link_ids" in body and rng.random() < 0.3:
            body["link_ids"] = [f" {link.title()}" for link in body["link_ids"]]

    # --- films and the log

    def film(self, person: Person) -> None:
        """As ever, but lengths that are none, and blanks around the film."""
        first = len(self.events)
        super().film(person)
        for event in self.events[first:]:
            if "total_length" in event["body"] and self.rng.random() < 0.05:
                event["body"]["total_length"] = self.rng.choice([-1, 0])
            if "film" in event["body"] and self.rng.random() < 0.05:
                event["body"]["film"] = f" {event['body']['film']}"

    def duplicates(self) -> None:
        """Some events are told again, with their identifiers spelt otherwise."""
        first = len(self.events)
        super().duplicates()
        for event in self.events[first:]:
            if self.rng.random() < 0.3:
                names = {space: f" {value}" for space, value in event["identifiers"].items()}
                event["identifiers"] = names

"""Events for a simulated world: small, nasty, within what the topology allows (no limit is met)."""

from __future__ import annotations

import random

from pipeline.events.model import Event

MINUTE = 60_000
HOUR = 60 * MINUTE
T0 = 1_700_000_000_000
SPAN = 6 * HOUR


def history(seed: int, sources: int, duplicates: bool = True, shared: bool = True) -> list[tuple[int, Event]]:
    """[(source partition, event)] in log order: within a partition received_at runs back by less than 10 s."""
    r = random.Random(seed)
    events: list[Event] = []

    def tell(kind: str, ids: dict[str, str], at: int, body: dict[str, object], received: int | None = None) -> None:
        received = at if received is None else received
        events.append(Event(kind, f"e{len(events)}", at, max(at, received), ids, body))

    for person in range(r.randint(2, 4)):
        devices = [f"a{person}{d}" for d in range(r.randint(1, 3))]
        user = {"user_id": f"u{person}"}
        for device in devices:
            tied = T0 + r.randrange(SPAN)
            # a burst around the tie, on several partitions: rows overtake the link
            for _ in range(r.randint(0, 3)):
                act(r, tell, {"anonymous_id": device}, tied + r.randint(-8_000, 8_000), person)
            tell("identified", {"anonymous_id": device, **user}, tied, {})
            if r.random() < 0.3:
                tell(
                    "identified", {"email": f"m{person}@x", "anonymous_id": device}, tied + r.randint(-4_000, 4_000), {}
                )
            # a wait that is due shortly before the tie is received, or shortly after
            at = tied - HOUR - r.randint(-6, 11) * MINUTE
            tell("product_added", {"anonymous_id": device}, at, {"cart_id": f"c{person}", "product_id": "tied"})
            if r.random() < 0.6:
                who = user if r.random() < 0.5 else {"anonymous_id": r.choice(devices)}
                tell("order_completed", who, at + r.randint(1, 58) * MINUTE, {"order_id": f"o{len(events) // 3}"})
        for _ in range(r.randint(3, 10)):
            ids = {"anonymous_id": r.choice(devices)} if r.random() < 0.7 else dict(user)
            act(r, tell, ids, T0 + r.randrange(SPAN), person)
    if shared:
        tablet(r, tell, r.randint(2, 5))
    for event in list(events):
        if duplicates and r.random() < 0.05:
            events.append(event)
    placed = []
    for event in events:
        jitter = r.randint(0, 4_500)
        placed.append((event.received_at + jitter, r.randrange(sources), event))
    placed.sort(key=lambda p: p[0])
    return [(partition, event) for _, partition, event in placed]


def oversized(seed: int, events: list[tuple[int, Event]], sources: int) -> list[tuple[int, Event]]:
    """With one person more, of whom more is known than a record takes: traits, addresses, products in a cart."""
    r = random.Random(f"oversized {seed}")
    made: list[Event] = []
    device, user = {"anonymous_id": "large"}, {"user_id": "large"}
    at = T0 + r.randrange(SPAN - 3 * HOUR)
    for n in range(r.randint(2, 4)):
        traits = {f"trait {n} {m}": "x" * r.randint(20, 80) for m in range(r.randint(3, 10))}
        made.append(Event("identified", f"l{n}", at, at, device if n % 2 else user, {"traits": traits}))
        at += r.randint(1, 10 * MINUTE)
    for n in range(r.randint(3, 12)):
        product = f"product {n} " + "y" * r.randint(20, 60)
        body = {"cart_id": "large", "product_id": product, "price": 1.5, "currency": "EUR"}
        made.append(Event("product_added", f"m{n}", at, at, device, body))
        at += r.randint(1, 5 * MINUTE)
    tied = at + r.choice([-HOUR, -MINUTE, 30 * MINUTE, HOUR + MINUTE])
    made.append(Event("identified", "login", tied, tied, {**device, **user}, {}))
    if r.random() < 0.5:
        late = at + r.choice([0, 90 * MINUTE])
        made.append(Event("order_completed", "order", at + MINUTE, max(late, at + MINUTE), user, {"order_id": "large"}))
    mostly = r.randrange(sources)
    placed = [
        (event.received_at + r.randint(0, 4_500), r.choice([mostly] * 9 + [r.randrange(sources)]), event)
        for event in made
    ]
    here = 0
    merged: list[tuple[int, Event]] = []
    for moment, partition, event in sorted(placed, key=lambda p: p[0]):
        while here < len(events) and events[here][1].received_at < moment:
            merged.append(events[here])
            here += 1
        merged.append((partition, event))
    return merged + events[here:]


def tablet(r: random.Random, tell, people: int) -> None:
    """A device that `people` pass on to each other, mostly faster than the log is in order."""
    at = T0 + r.randrange(SPAN)
    device = {"anonymous_id": "tablet"}
    for _ in range(r.randint(4, 12)):
        person = r.randrange(people)
        login = {**device, "user_id": f"u{person}"}
        late = at + r.choice([0, 0, 0, 3_000, 8_000, 20 * MINUTE, 64 * MINUTE])
        tell(r.choice(["identified", "page_viewed"]), login, at, {}, late)
        for _ in range(r.randint(0, 2)):
            at += r.choice([1, 1_000, 3_000])
            act(r, tell, device, at, person)
        at += r.choice([500, 2_000, 5_000, MINUTE, 30 * MINUTE])


def act(r: random.Random, tell, ids: dict[str, str], at: int, person: int) -> None:
    """One thing that somebody does."""
    kind = r.choice(["page_viewed", "add", "add", "remove", "look", "order", "clear", "mail", "click", "film", "film"])
    late = at + r.choice([0, 0, 0, 0, r.randint(1, 90) * MINUTE])
    cart = r.choice([{"cart_id": f"c{person}"}, {"cart_id": f"d{person}"}, {}])
    if kind == "add":
        tell(
            "product_added",
            ids,
            at,
            {**cart, "product_id": f"p{r.randrange(3)}", "price": 2.5, "currency": "EUR"},
            late,
        )
    elif kind == "remove":
        tell("product_removed", ids, at, {**cart, "product_id": f"p{r.randrange(3)}"}, late)
    elif kind == "look":
        tell("cart_viewed", ids, at, dict(cart), late)
    elif kind == "order":
        tell(
            "order_completed",
            ids,
            at,
            {**cart, "order_id": f"o{at // (3 * HOUR)}", "total": 5.0, "currency": "EUR"},
            late,
        )
    elif kind == "clear":
        tell("cart_cleared", ids, at, dict(cart), late)
    elif kind == "mail":
        tell("email_sent", ids, at, {"message_id": f"m{person}{r.randrange(2)}", "link_ids": ["ebook"]}, late)
    elif kind == "click":
        tell("email_clicked", ids, at, {"message_id": f"m{person}{r.randrange(2)}", "link_id": "ebook"}, late)
    elif kind == "film":
        start = float(r.choice([0, 20, 40, 50]))
        body = {"film": f"f{person}", "total_length": 100.0, "watched_from": start, "watched_to": start + 30}
        tell("video_progressed", ids, at, body, late)
    else:
        tell("page_viewed", ids, at, {"path": "/p"}, late)

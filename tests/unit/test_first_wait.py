"""The first wait of a key, and when it is decided, are found the short way as they are by laying out all of them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from pipeline.runtime.replay import Replay
from pipeline.triggers import waits
from pipeline.triggers.facts import End, Key, Until, Wait
from pipeline.triggers.rules import Compiled
from tests.oracle.build import Event, add, bounce, clear, click, event, order, remove, send, update, view
from tests.replayed import FAR, as_event
from tests.ruled import ruled

TOPOLOGY = ruled("""
looked_round:
  version: 1
  start: {event: product_viewed}
  restart: {event: [page_viewed, cart_viewed]}
  after: 30m
  cancel:
    - {event: [product_added, cart_updated], reason: in_cart}
    - {event: order_completed, reason: bought}
    - {event: searched, where: {query: start.name}, reason: found}
left_a_cart:
  version: 1
  per: cart_id
  without_key: shared
  start: {event: [product_added, cart_updated]}
  restart: {event: [product_removed, cart_viewed]}
  stages: [{name: first, after: 1h}, {name: second, after: 1d}]
  cancel:
    - {event: order_completed, match: cart_id, without_key: all, takes: products, reason: bought}
    - {event: cart_cleared, match: cart_id, without_key: all, reason: cleared}
  until: {cart: empty, reason: emptied}
  payload: [cart]
sent_and_left:
  version: 1
  per: message_id
  once: true
  start: {event: email_sent}
  stages: [{name: first, after: 1h}, {name: second, after: 1d}]
  cancel:
    - {event: email_clicked, match: message_id, before_start: true, reason: clicked}
    - {event: email_bounced, match: message_id, reason: unreachable}
broken_off:
  version: 1
  per: film
  start: {event: video_started}
  restart: {event: [video_progressed, video_resumed]}
  after: 1d
  until: {when: {film: {share: {gte: 0.4}}}, reason: seen}
  cancel: {event: order_completed, reason: bought}
  payload: [film]
""")


def happens(rng: Random, number: int) -> Event:
    """Anything that these rules look at, at any time of five hours, now and then received late."""
    name, at = f"e{number}", rng.randrange(0, 300)
    got = at + rng.choice([0, 0, 0, rng.randrange(1, 200)])
    item, film = rng.choice("pq"), rng.choice("fg")
    position = rng.randrange(0, 90)
    made: list[Event] = [
        event("product_viewed", name, at, got, product_id=item, name=item),
        event("product_viewed", name, at, got, product_id=item, name=item),
        event("page_viewed", name, at, got),
        event("searched", name, at, got, query=item),
        add(name, at, got, product_id=item),
        remove(name, at, got, product_id=item),
        update(name, at, got, products=[{"product_id": item, "quantity": rng.randrange(2), "price": 5}]),
        view(name, at, got),
        clear(name, at, got),
        order(name, at, got, cart=rng.choice(["c", "d", None]), products=[{"product_id": item}]),
        send(name, at, got, who="a:phone", message=item),
        click(name, at, got, who="a:phone", message=item),
        bounce(name, at, got, who="a:phone", message=item),
        event("video_started", name, at, got, film=film, session_id=film, position=0, total_length=90),
        event("video_progressed", name, at, got, film=film, session_id=film, position=position, total_length=90),
    ]
    return rng.choice(made)


@pytest.mark.parametrize("start", range(0, 300, 100))
def test_the_first_wait_is_the_first_of_all(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first, next_due = waits.first, waits.next_due
    short: dict[str, int] = {}

    def found_first(rule: Compiled, key: Key, everyone: list[End], until: Until | None = None) -> Any:
        found, emptyings = first(rule, key, everyone, until)
        every, emptied = waits.walk(rule, key, everyone, until)
        assert found == every[0]
        assert emptyings == emptied
        if not rule.stages and (key.ends or everyone):
            short[rule.name] = short.get(rule.name, 0) + 1
        return found, emptyings

    def found_due(rule: Compiled, key: Key, everyone: list[End], until: Until | None = None) -> int | None:
        due = next_due(rule, key, everyone, until)
        every: list[Wait] = waits.walk(rule, key, everyone, until)[0]
        moments = [wait.due + rule.lateness if wait.moment is None else wait.moment for wait in every[:1]]
        assert due == (moments[0] if moments else None)
        return due

    monkeypatch.setattr(waits, "first", found_first)
    monkeypatch.setattr(waits, "next_due", found_due)
    for seed in range(start, start + 100):
        rng, one = Random(seed), Replay(TOPOLOGY)
        told = [happens(rng, number) for number in range(rng.randrange(3, 30))]
        for each in sorted(told, key=lambda each: each["received_at"]):
            list(one.feed(as_event(each), FAR))
        list(one.finish())
    assert min(short[name] for name in ("looked_round", "broken_off")) > 20

"""Other people's clients, unmodified, against the collector and a real Kafka: each its whole repertoire, with the first
requests failing. What arrives is what each was asked to send, field by field: nothing is missing, nothing is twice.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from pipeline.events.model import Event
from tests.clients.arriving import Arriving, arriving
from tests.clients.recorder import Fault, Recorder, unpacked
from tests.clients.running import CLIENTS, NEWER, Said, run, start
from tests.collector import PUBLIC, SECRET, EdgeProcess
from tests.deployment import Deployment
from tests.registry import RegistryServer
from tests.servers import KafkaServer

pytestmark = pytest.mark.servers

FAULTS: tuple[Fault, ...] = (500, "cut", "lost")
CORRECTED_MS = 20_000  # a client that resends its time of sending makes an event later than it was by so much at most
IDS = re.compile(r'(?:"(?:messageId|uuid|eid)": ?"|[?&]eid=)([\w-]+)')
IN_PAGES = {"analytics_next"}
PAGES = ["page_viewed", "product_viewed", "product_added", "identified", "custom", "order_completed"]


class Ran(NamedTuple):
    """`faults`: that weren't met. `lost`: requests that were taken, but whose answers never came."""

    said: Said
    faults: list[Fault]
    lost: str


class Arrived(NamedTuple):
    """What became of all clients. `refused`: how often each event was sent by one whose key isn't known."""

    ran: dict[str, Future[Ran]]
    refused: dict[str, Future[Counter[str]]]
    events: list[Event]
    dead_letters: list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def arrived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kafka: KafkaServer) -> Arrived:
    """All clients that are asked for, side by side: most of the time, they wait to send something again."""
    calls = [item.callspec for item in request.session.items if getattr(item, "module", None) is request.module]  # type: ignore[attr-defined]
    names = sorted({call.params["name"] for call in calls})
    with ExitStack() as stack:
        registry = stack.enter_context(RegistryServer())
        folder = tmp_path_factory.mktemp("clients")
        shop = stack.enter_context(Deployment(folder, "clients", kafka.bootstrap, "redis://unused:1", registry))
        shop.run("topics")
        keys = {"server": {"key": SECRET}, "page": {"key": PUBLIC, "public": True, "types": PAGES}}
        edge = stack.enter_context(EdgeProcess(shop, keys=keys))
        with ThreadPoolExecutor(3) as pool:
            ran = {name: pool.submit(through_faults, edge, name) for name in names}
            refused = {name: pool.submit(refuse, edge, name) for name in names}
        return Arrived(ran, refused, edge.events(), edge.dead_letters())


def through_faults(edge: EdgeProcess, name: str) -> Ran:
    with Recorder(*FAULTS, upstream=f"http://127.0.0.1:{edge.port}") as proxy:
        said = run(name, proxy.url, PUBLIC if name in IN_PAGES else SECRET, f"seed-{name}")
    return Ran(said, proxy.faults, proxy.lost)


def refuse(edge: EdgeProcess, name: str) -> Counter[str]:
    with Recorder(upstream=f"http://127.0.0.1:{edge.port}") as proxy:
        start(name, proxy.url, "a-key-of-nobody", f"refused-{name}", {**os.environ, "PATIENCE_MS": "3000"})
    return Counter(event_id for request in proxy.requests for event_id in set(IDS.findall(said_in(request))))


def said_in(request: dict[str, Any]) -> str:
    return str(unquote(request["path"]) + unpacked(b64decode(request["body"])).decode())


@pytest.mark.parametrize("name", [*CLIENTS, *NEWER])
def test_a_client_lets_go_of_what_is_refused(arrived: Arrived, name: str) -> None:
    """It would send it for ever."""
    times = arrived.refused[name].result()
    assert times
    assert set(times.values()) == {1}
    assert not [
        event for event in arrived.events if any(f"refused-{name}" in who for who in event.identifiers.values())
    ]


@pytest.mark.parametrize("name", [*CLIENTS, *NEWER])
def test_what_arrives_is_what_the_client_was_asked_to_send(arrived: Arrived, name: str) -> None:
    said, faults, lost = arrived.ran[name].result()
    assert not faults, "every fault was met"
    mine = [event for event in arrived.events if any(f"seed-{name}" in who for who in event.identifiers.values())]
    compare(once(mine, lost), arriving(name, said), public=name in IN_PAGES)
    assert arrived.dead_letters == []


def once(events: list[Event], lost: str) -> list[Event]:
    """Each event id once under the same identifiers; only what was `lost` after it had been taken may have a copy, and
    it says the same.
    """
    found: dict[tuple[str, str], Event] = {}
    for event in events:
        first = found.setdefault((event.event_id, json.dumps(event.identifiers, sort_keys=True)), event)
        if first is not event:
            assert event.event_id in lost, f"{event.event_id} ({event.type}) is there twice"
            assert (first.type, first.body, first.context) == (event.type, event.body, event.context)
    return list(found.values())


def compare(found: list[Event], wanted: list[Arriving], *, public: bool) -> None:
    """Where a client doesn't say which id it gave, what the event tells has to match."""
    ids = {each.event_id for each in wanted}
    there = [told(event, with_id=event.event_id in ids) for event in found]
    asked = [as_told(each, public) for each in wanted]
    missing, more = Counter(asked) - Counter(there), Counter(there) - Counter(asked)
    assert not missing and not more, f"missing:\n{lines(missing)}\nnot asked for:\n{lines(more)}"  # noqa: PT018
    times = {each.event_id: each for each in wanted if each.at is not None}
    for event in found:
        if (each := times.get(event.event_id)) is not None and each.at is not None:
            late = event.occurred_at - each.at
            assert -2 <= late <= (0 if each.exactly else CORRECTED_MS), (event.event_id, late)
        assert event.occurred_at <= event.received_at


def told(event: Event, *, with_id: bool) -> str:
    """All that has to match, as JSON."""
    body = event.body
    if body.get("name") == "$exception":  # the rest is the client's: where in its code
        assert "no tent" in body["properties"].pop("$exception_list")
        body = {"name": body["name"]}
    context = dict(event.context or {})
    if "unproven" in context:
        assert context.pop("ip") == "127.0.0.0"
        assert "HeadlessChrome/" in context.pop("user_agent")
        assert context.pop("locale").startswith("en")
        assert context.pop("timezone")
        assert context.pop("bot") is True
        assert context.pop("url").endswith(("/shop.html", "/tents?colour=grün"))
    return _json([event.event_id if with_id else None, event.type, event.identifiers, body, context])


def as_told(each: Arriving, public: bool) -> str:
    context = dict(each.context)
    if public:
        context.pop("ip", None)  # what a page says of it isn't believed
        context["unproven"] = sorted(each.identifiers)
    return _json([each.event_id, each.type, each.identifiers, each.body, context])


def _json(value: Any) -> str:
    return json.dumps(_floats(value), sort_keys=True, ensure_ascii=False)


def _floats(value: Any) -> Any:
    """249 and 249.0 are the same."""
    if isinstance(value, dict):
        return {name: _floats(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_floats(part) for part in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def lines(counted: Counter[str]) -> str:
    return "\n".join(sorted(counted.elements())) or "nothing"

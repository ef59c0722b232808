"""Segment's calls and Avro records as a careless sender may write them: each is an event, or has a reason why not.

    python -m tests.mutations --lines 100000 --show 200

prints how many ended how, and some of those that were refused, to be judged by eye: what a person understands, the
pipeline ought to.
"""

from __future__ import annotations

import io
import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any

import fastavro

from pipeline.errors import InvalidEvent
from pipeline.events import schemas
from pipeline.events.calls import translate
from pipeline.events.codec import HEADER, Decoder, Encoder, to_record
from pipeline.events.model import Event
from pipeline.events.registry import connect
from tests.unit.event_samples import NOW, sample

REASONS_OF_JSON = {"invalid_json", "invalid_shape", "invalid_time"}
REASONS_OF_AVRO = {
    "empty", "bad_magic", "truncated", "trailing_bytes", "unknown_schema", "wrong_schema", "undecodable",
    "invalid_time",
}  # fmt: skip

_WHO = {"messageId": "m-1", "userId": "u-1", "anonymousId": "9f1c2e", "timestamp": "2025-11-24T10:20:00.000Z"}
_TENT = {"product_id": "tent", "sku": "T-1", "name": "Tent", "price": 249.9, "quantity": 1, "currency": "EUR"}
_CLOCKS = {
    "originalTimestamp": _WHO["timestamp"],
    "sentAt": "2025-11-24T10:20:01Z",
    "receivedAt": "2025-11-24T10:20:02Z",
}
_TRACKED: list[tuple[str, dict[str, Any]]] = [
    ("Product Added", {"cart_id": "c1", **_TENT}),
    ("Product Removed", {"cart_id": "c1", "product_id": "tent", "quantity": 1}),
    ("Cart Updated", {"cart_id": "c1", "currency": "EUR", "products": [_TENT, {"product_id": "pot", "price": 20}]}),
    ("Cart Viewed", {"cart_id": "c1", "products": [_TENT]}),
    ("Order Completed", {"order_id": "o1", "cart_id": "c1", "total": 249.9, "currency": "EUR", "products": [_TENT]}),
    ("purchase", {"transaction_id": "T1", "value": 10, "currency": "EUR", "items": [{"item_id": "tent", "price": 10}]}),
    ("Email Sent", {"message_id": "m", "campaign": "welcome", "link_ids": ["ebook", "news"]}),
    ("Email Link Clicked", {"email_id": "m", "link_id": "ebook", "confidence": "human"}),
    ("Video Content Playing", {"session_id": "s", "content_asset_ids": ["f"], "position": 10, "total_length": 100}),
    ("Trial Started", {"plan": "pro", "seats": 5}),
]
SEEDS: list[dict[str, Any]] = [
    *({"type": "track", "event": name, "properties": told, **_WHO} for name, told in _TRACKED),
    {"type": "track", "event": "Order Completed", "properties": {"total": 5}, **_WHO, **_CLOCKS},
    {"type": "identify", "traits": {"email": "Anna@example.org", "name": "Anna"}, **_WHO},
    {"type": "page", "name": "Home", "properties": {"url": "https://shop.example/", "path": "/"}, **_WHO},
    {"type": "alias", "previousId": "old", **_WHO},
    {"type": "group", "groupId": "g", "traits": {"name": "Initech"}, **_WHO},
    {"type": "screen", "name": "Cart", "context": {"device": {"id": "d"}, "traits": {"email": "a@x.org"}}, **_WHO},
]

_ODD: list[Any] = [
    None, "", " ", [], {}, [[]], [None], 0, -1, 1.5, True, False, "null", "undefined", "NaN", "[object Object]",
    "Array", float("nan"), float("inf"), 10**30, 10**400, 10**5000, "1.234,56", "12,50 EUR", "x" * 600, "x" * 70_000,
    "Tent \ud83d", "\udc00", "\x00", "2025-11-24", "0000-00-00 00:00:00", "Invalid Date", 1763979600, 1763979600000,
    "Mon, 24 Nov 2025 10:20:00 GMT", '{"a": 1', "[1, 2]", "a:1:{i:0;s:1:\"p\";}",
]  # fmt: skip


def mutated_call(rng: Random, seeds: Sequence[dict[str, Any]] = SEEDS) -> Any:
    """A call with one to four things wrong."""
    obj: Any = deepcopy(rng.choice(seeds))
    for _ in range(rng.choice([1, 1, 2, 3, 4])):
        parents = [obj, *_containers(obj)]
        parent = rng.choice(parents)
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        if not keys:
            continue
        key = rng.choice(keys)
        if isinstance(key, str) and rng.random() < 0.3:
            parent[rng.choice(_SPELLINGS)(rng, key)] = parent.pop(key)
        elif rng.random() < 0.1:
            del parent[key]
        else:
            parent[key] = rng.choice(_TOLD)(rng, parent[key])
    return rng.choice([[obj], _as_text(rng, obj), None]) if rng.random() < 0.005 else obj


def _containers(node: Any) -> Iterator[Any]:
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, (dict, list)):
            yield child
            yield from _containers(child)


def _numbered(rng: Random, value: Any) -> Any:
    return {str(i): item for i, item in enumerate(value)} if isinstance(value, list) else {"0": value}


def _as_text(rng: Random, value: Any) -> Any:
    try:
        return json.dumps(value)
    except ValueError:  # thousands of digits
        return "9" * 5000


_TOLD: list[Callable[[Random, Any], Any]] = [
    lambda rng, value: deepcopy(rng.choice(_ODD)),
    lambda rng, value: deepcopy(rng.choice(_ODD)),
    _as_text,
    _numbered,
    lambda rng, value: [value],
    lambda rng, value: {"value": value},
    lambda rng, value: value.upper() if isinstance(value, str) else value,
    lambda rng, value: f' "{value}" ' if isinstance(value, str) else value,
]
_SPELLINGS: list[Callable[[Random, str], str]] = [
    lambda rng, name: name.upper(),
    lambda rng, name: name.replace("_", ""),
    lambda rng, name: name.replace("_", " ").title(),
    lambda rng, name: name[1:] + name[:1],
    lambda rng, name: name + rng.choice("_xs "),
    lambda rng, name: name.replace("i", "\ud83d", 1),
]


_REGISTRY = connect("mock://mutations")
_ENCODER, _DECODER = Encoder(_REGISTRY), Decoder(_REGISTRY)
_NAMES = sorted(schemas.names())


def mutated_record(rng: Random) -> bytes:
    """An Avro record with values that its schema allows and nobody expects, or with other bytes in it."""
    event = sample(rng.choice(_NAMES))
    record = to_record(event)
    for _ in range(rng.choice([0, 1, 2])):
        name = rng.choice(["occurred_at", "received_at", "event_id", "identifiers", "body", "body"])
        record[name] = _MUTATED[name](rng, record[name])
    out = io.BytesIO()
    out.write(_ENCODER.encode("events.test", event)[: HEADER.size])
    fastavro.schemaless_writer(out, schemas.plain(event.type), record)
    value = bytearray(out.getvalue())
    for _ in range(rng.choice([0, 0, 1, 2])):
        at = rng.randrange(HEADER.size, len(value))
        value[at : at + rng.choice([0, 1, 1])] = rng.choice([rng.randbytes(1), b"\xff", b"", b"\xed\xa0\x80"])
    return bytes(value[: rng.randrange(len(value))] if rng.random() < 0.05 else value)


def _time(rng: Random, at: int) -> int:
    far = [0, -1, 2**63 - 1, -(2**63), NOW // 1000, NOW * 1000, NOW * 10**6, NOW // 10, 253_402_300_800_000]
    return rng.choice(far)


def _filled(rng: Random, node: Any) -> Any:
    """The same with some numbers and texts that are none or too many."""
    if isinstance(node, dict):
        return {key: _filled(rng, value) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(rng, value) for value in node]
    if rng.random() < 0.7:
        return node
    if isinstance(node, float):
        return rng.choice([float("nan"), float("inf"), -0.0, 1e308])
    return rng.choice(["", "x" * 70_000, "é" * 40_000, "\x00"]) if isinstance(node, str) and "é" in node else node


_MUTATED: dict[str, Callable[[Random, Any], Any]] = {
    "occurred_at": _time,
    "received_at": _time,
    "event_id": lambda rng, value: rng.choice(["", "x" * 300]),
    "identifiers": lambda rng, value: {**value, rng.choice(["email", "x" * 600]): rng.choice(["", "x" * 600, "\x00"])},
    "body": _filled,
}


def of_call(obj: Any) -> list[Event] | InvalidEvent:
    """The events of a call, or why it is none. (How bytes become objects is another matter.)"""
    try:
        return translate(obj)
    except InvalidEvent as error:
        return error


def of_record(value: bytes) -> list[Event] | InvalidEvent:
    """The event of a record, or why it is none."""
    try:
        return [_DECODER.decode(value)]
    except InvalidEvent as error:
        return error


def main() -> None:
    """Mutate, tally, show."""
    parser = ArgumentParser(prog="python -m tests.mutations")
    parser.add_argument("--lines", type=int, default=10_000, help="of each kind")
    parser.add_argument("--show", type=int, default=0, help="how many refused calls to print, each with its reason")
    parser.add_argument("--remarked", type=int, default=0, help="how many events with remarks to print")
    parser.add_argument("--seed", default="1")
    args = parser.parse_args()
    rng = Random(args.seed)
    tallies: dict[str, Counter[str]] = {"calls": Counter(), "records": Counter()}
    remarks: Counter[str] = Counter()
    for _ in range(args.lines):
        call, record = mutated_call(rng), mutated_record(rng)
        for kind, told in (("calls", of_call(call)), ("records", of_record(record))):
            tallies[kind]["an event" if isinstance(told, list) else told.reason] += 1
            for event in told if isinstance(told, list) else ():
                remarks.update(f"{remark.what}: {remark.detail}" for remark in event.remarks)
            if kind == "calls" and isinstance(told, InvalidEvent) and args.show:
                args.show -= 1
                print(f"{told}\n    {shown(call)}")
            if kind == "calls" and isinstance(told, list) and told[0].remarks and args.remarked:
                args.remarked -= 1
                print(f"{told[0]}\n    {shown(call)}"[:1500])
    for kind, tally in tallies.items():
        print(kind, dict(tally.most_common()))
    print(f"{len(remarks)} different remarks; the most common:")
    for text, count in remarks.most_common(20):
        print(f"{count:8} {text}")


def shown(obj: Any) -> str:
    """JSON, cut where it is long."""
    try:
        return json.dumps(obj)[:600]
    except ValueError:
        return "(a number with thousands of digits in it)"


if __name__ == "__main__":
    main()

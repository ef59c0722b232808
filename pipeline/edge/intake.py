"""JSON of a request to records for Kafka, one source topic for each stream, and what is refused of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from pipeline.edge import robots
from pipeline.edge.families import Family
from pipeline.edge.keys import agreed, limited, stripped
from pipeline.errors import InvalidEvent
from pipeline.events.calls import PLAIN, translate
from pipeline.events.catalogue import catalogue, stream_of
from pipeline.events.codec import Encoder
from pipeline.events.compiled import Sealing, Writer
from pipeline.events.model import Event
from pipeline.identity.identifiers import Normaliser
from pipeline.runtime import dead_letters
from pipeline.runtime.ports import Out
from pipeline.runtime.sources import KEYED_BY, NOBODYS, key_of
from pipeline.topology.model import Topology, WriteKey

DEAD_LETTER_BYTES = 900_000
STAGE = "edge"

_json = msgspec.json.Encoder().encode


class Caller(NamedTuple):
    """Who sent a request, as far as we saw it ourselves. `address`, `user_agent`: of the client, or None."""

    address: str | None = None
    user_agent: str | None = None


class Accepted(NamedTuple):
    """One event, and its record for Kafka."""

    event: Event
    record: Out


class Refused(NamedTuple):
    """One event of a request that doesn't go in, by its place there; `item`: as it came. `dropped`: the person hasn't
    agreed; that is nobody's mistake.
    """

    place: int
    item: object
    error: InvalidEvent
    dropped: bool = False


class Judged(NamedTuple):
    """What becomes of the events of a request. `events`: the accepted ones, `records`: of each of them."""

    events: list[Event]
    records: list[Out]
    refused: list[Refused]

    @property
    def accepted(self) -> list[Accepted]:
        """One by one."""
        return [*map(Accepted, self.events, self.records)]


class Judge:
    """Not thread-safe. `encoder` None: nothing is encoded (echo)."""

    def __init__(self, topology: Topology, encoder: Encoder | None) -> None:
        topics = {topic.stream: topic.name for topic in topology.topics.sources if topic.stream}
        self._topics = {name: topics.get(each.stream) for name, each in catalogue().items()}
        self._dead_letters = topology.topics.dead_letters.name
        self._normaliser = Normaliser(topology.identifiers)
        self._encoder = encoder
        self._most = topology.edge.event_bytes
        self._sealings: dict[str, Sealing] = {}

    def of(
        self, family: Family, key: WriteKey, items: list[object], caller: Caller, call: str, now: int, large: bool
    ) -> Judged:
        """`call`: what an item is that doesn't say it. `now`: UTC ms. `large`: some item may have more than its bytes.

        What is in order is read, checked and written compiled; all else, and everything where nothing is compiled, by
        `_one`, which says what is wrong. Raises RegistryUnavailable, SchemaMissing.
        """
        judged = Judged([], [], [])

        def call_of(item: object) -> object:
            if large and len(_bytes_of(item)) > self._most:
                raise InvalidEvent("too_large", f"the event has more than {self._most} bytes")
            told = family.call_of(item)
            return {**told, "type": call} if call and isinstance(told, dict) and not told.get("type") else told

        def one(place: int, item: object) -> None:
            self._one(key, caller, now, call_of, place, item, judged)

        if (sealing := self._sealing(key)) is None:
            for place, item in enumerate(items):
                one(place, item)
        else:
            seen = [(name, value) for name, value in _seen(caller) if value is not None]
            told = None if family.as_it_is and not call and not large else call_of
            sealing.seal(items, now, seen, told, judged.events, judged.records, one)
        return judged

    def _one(
        self,
        key: WriteKey,
        caller: Caller,
        now: int,
        call_of: Callable[[object], object],
        place: int,
        item: object,
        judged: Judged,
    ) -> None:
        """Judge one item."""
        try:
            events = translate(call_of(item), now)
            for event in events:
                if (refused := limited(key, event)) is not None:
                    raise InvalidEvent("not_allowed", refused)
            if key.purpose is None or all(agreed(key, event) for event in events):
                records = [self._record(key, event, caller) for event in events]
            else:
                events = [event for event in events if key.otherwise == "strip" and stripped(event)]
                if not events:
                    why = InvalidEvent("no_consent", f"the person hasn't agreed to {key.purpose}")
                    judged.refused.append(Refused(place, None, why, dropped=True))
                records = [self._nobodys(event) for event in events]
        except InvalidEvent as error:
            judged.refused.append(Refused(place, item, error))
        else:
            judged.events.extend(events)
            judged.records.extend(records)

    def _sealing(self, key: WriteKey) -> Sealing | None:
        if PLAIN is None or self._encoder is None:
            return None
        if (found := self._sealings.get(key.key)) is None:
            rank = self._normaliser.rank
            found = self._sealings[key.key] = Sealing(
                PLAIN,
                partial(self._way, key),
                Out,
                keyed_by=[namespace for namespace in (*KEYED_BY, *rank) if namespace in rank],
                blocked=self._normaliser.blocked,
                key_of=partial(key_of, normaliser=self._normaliser),
                allowed=key.identifiers,
                purpose=key.purpose,
                known_better=("ip",) if key.public else (),
                unproven="unproven" if key.public else None,
                judged=("user_agent", robots.is_robot, "bot"),
            )
        return found

    def _way(self, key: WriteKey, name: str) -> tuple[str, bytes, Writer] | None:
        """Where events of that type go from that key, and how they are written; None: nowhere, or not yet."""
        topic = self._topics[name] if name in key.types else None
        if topic is None or self._encoder is None or (found := self._encoder.written(topic, name)) is None:
            return None
        return topic, *found

    def dead_letter(self, family: Family, key: WriteKey, refused: Refused) -> Out:
        """What is refused, as it came, with the reason and whose it was."""
        told = {"index": refused.place, "family": family.name, "key": key.name}
        headers = dead_letters.made(STAGE, refused.error, __name__, told)
        return Out(self._dead_letters, None, None, _bytes_of(refused.item)[:DEAD_LETTER_BYTES], headers)

    def _record(self, key: WriteKey, event: Event, caller: Caller) -> Out:
        _tell_caller(key, event, caller)
        record_key = key_of(event, self._normaliser)
        if record_key is None:
            raise InvalidEvent("no_identifier", "nothing in it identifies a person or device")
        return self._out(event, record_key, [])

    def _nobodys(self, event: Event) -> Out:
        """Of an event that no longer says who it was."""
        return self._out(event, None, [(NOBODYS, b"no_consent")])

    def _out(self, event: Event, record_key: bytes | None, headers: list[tuple[str, bytes | None]]) -> Out:
        topic = self._topics[event.type]
        if topic is None:
            raise InvalidEvent("no_topic", f"no source topic of the topology takes {stream_of(event.type)} events")
        value = b"" if self._encoder is None else self._encoder.encode(topic, event)
        return Out(topic, None, record_key, value, headers)


def _seen(caller: Caller) -> tuple[tuple[str, str | None], ...]:
    """As fields of the context."""
    return ("ip", caller.address), ("user_agent", caller.user_agent)


def _tell_caller(key: WriteKey, event: Event, caller: Caller) -> None:
    """Of a page we know better than it where it is and what it runs on; a shop's server tells it of its visitors."""
    context = event.context or {}
    if key.public:
        context = {name: value for name, value in context.items() if name != "ip"}
        context.update((name, value) for name, value in _seen(caller) if value is not None)
    if (agent := context.get("user_agent")) is not None and robots.is_robot(agent):
        context = {**context, "bot": True}
    event.context = context or None


def _bytes_of(item: object) -> bytes:
    if isinstance(item, bytes):
        return item
    try:
        return _json(item)
    except (ValueError, TypeError, RecursionError):  # half an emoji, say
        return repr(item)[:DEAD_LETTER_BYTES].encode("utf-8", "replace")


def public(event: Event) -> Mapping[str, Any]:
    """An event as people read it."""
    told: dict[str, Any] = {
        "type": event.type,
        "event_id": event.event_id,
        "occurred_at": event.occurred_at,
        "received_at": event.received_at,
        "identifiers": event.identifiers,
        "body": {name: value for name, value in event.body.items() if value is not None},
    }
    if event.context:
        told["context"] = event.context
    if event.remarks:
        told["remarks"] = [f"{each.what}: {each.detail}" for each in event.remarks]
    return told

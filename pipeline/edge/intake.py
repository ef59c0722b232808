"""JSON of a request to records for Kafka, one source topic for each stream, and what is refused of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from pipeline.edge import robots
from pipeline.edge.families import Family
from pipeline.edge.keys import agreed, limited, stripped
from pipeline.errors import InvalidEvent
from pipeline.events.calls import translate
from pipeline.events.catalogue import catalogue, stream_of
from pipeline.events.codec import Encoder
from pipeline.events.model import Event
from pipeline.identity.identifiers import Normaliser
from pipeline.runtime import dead_letters
from pipeline.runtime.ports import Out
from pipeline.runtime.sources import NOBODYS, key_of
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
    """What becomes of the events of a request."""

    accepted: list[Accepted]
    refused: list[Refused]


class Judge:
    """Not thread-safe. `encoder` None: nothing is encoded (echo)."""

    def __init__(self, topology: Topology, encoder: Encoder | None) -> None:
        topics = {topic.stream: topic.name for topic in topology.topics.sources if topic.stream}
        self._topics = {name: topics.get(each.stream) for name, each in catalogue().items()}
        self._dead_letters = topology.topics.dead_letters.name
        self._normaliser = Normaliser(topology.identifiers)
        self._encoder = encoder
        self._most = topology.edge.event_bytes

    def of(
        self, family: Family, key: WriteKey, items: list[object], caller: Caller, call: str, now: int, large: bool
    ) -> Judged:
        """`call`: what an item is that doesn't say it. `now`: UTC ms. `large`: some item may have more than its bytes.

        Raises RegistryUnavailable, SchemaMissing.
        """
        judged = Judged([], [])
        for index, item in enumerate(items):
            try:
                if large and len(_json(item)) > self._most:
                    raise InvalidEvent("too_large", f"the event has more than {self._most} bytes")
                told = family.call_of(item)
                if call and isinstance(told, dict) and not told.get("type"):
                    told = {**told, "type": call}
                events = translate(told, now)
                for event in events:
                    if (refused := limited(key, event)) is not None:
                        raise InvalidEvent("not_allowed", refused)
                if key.purpose is not None and not all(agreed(key, event) for event in events):
                    accepted = []
                    if key.otherwise == "strip":
                        accepted = [Accepted(event, self._nobodys(event)) for event in events if stripped(event)]
                    if not accepted:
                        why = InvalidEvent("no_consent", f"the person hasn't agreed to {key.purpose}")
                        judged.refused.append(Refused(index, None, why, dropped=True))
                        continue
                elif len(events) == 1:  # nearly always
                    accepted = [Accepted(events[0], self._record(key, events[0], caller))]
                else:
                    accepted = [Accepted(event, self._record(key, event, caller)) for event in events]
            except InvalidEvent as error:
                judged.refused.append(Refused(index, item, error))
            else:
                judged.accepted.extend(accepted)
        return judged

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


def _tell_caller(key: WriteKey, event: Event, caller: Caller) -> None:
    """Of a page we know better than it where it is and what it runs on; a shop's server tells it of its visitors."""
    context = event.context or {}
    if key.public:
        context = {name: value for name, value in context.items() if name != "ip"}
        if caller.address is not None:
            context["ip"] = caller.address
        if caller.user_agent is not None:
            context["user_agent"] = caller.user_agent
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

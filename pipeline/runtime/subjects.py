"""The schemas that a topology needs in the registry: what `pipeline topics` registers, what everybody else looks up.

One subject a topic and type (TopicRecordNameStrategy). A subject takes a version only if it and all versions before it
read each other's records: a producer, this pipeline and a consumer may be of any age.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

import msgspec

from pipeline.errors import SchemaRefused
from pipeline.events import schemas
from pipeline.events.catalogue import doing, stream_of
from pipeline.topology.model import Topics

LEVEL: Final = "FULL_TRANSITIVE"
ENOUGH = (LEVEL, "BACKWARD_TRANSITIVE")  # where somebody has chosen that, it stays


class Registry(Protocol):
    """Of `pipeline.events.registry.Registry`; everything may block, and raises RegistryUnavailable."""

    def has(self, subject: str) -> bool: ...
    def find(self, subject: str, text: str) -> int | None: ...
    def register(self, subject: str, text: str) -> int: ...
    def compatibility(self, subject: str) -> str | None: ...
    def set_compatibility(self, subject: str, level: str) -> None: ...


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one. `was`: the compatibility that it had and no longer has, or should not have; empty: fine.
    `said`: why the registry refuses the version.
    """

    topic: str
    file: str
    state: Literal["there", "registered", "missing", "refused"]
    was: str = ""
    said: str = ""

    @property
    def name(self) -> str:
        return schemas.subject(self.topic, self.file)


def wanted(topics: Topics) -> list[tuple[str, str]]:
    """(topic, schema file) of all that is written. A source topic without a stream may carry any event, and each may
    say who somebody is.
    """
    found = [
        (topic.name, name)
        for topic in topics.sources
        for name in schemas.names()
        if topic.stream in (None, stream_of(name)) or name in doing("traits")
    ]
    found += [(topics.decisions.name, "decision"), (topics.triggers.name, "trigger")]
    return found if topics.segments is None else [*found, (topics.segments.name, "segment_change")]


def bring(registry: Registry, topics: Topics, *, create: bool) -> list[Subject]:
    """Register what is missing, under at least BACKWARD_TRANSITIVE; `create` False: only look. What is there as it
    should be costs three questions and changes nothing. Raises RegistryUnavailable.
    """
    return [_bring(registry, topic, file, create) for topic, file in wanted(topics)]


def _bring(registry: Registry, topic: str, file: str, create: bool) -> Subject:
    subject, text = schemas.subject(topic, file), schemas.text(file)
    there = registry.has(subject)
    level = registry.compatibility(subject) if there else None
    was = "" if level in ENOUGH or not there else level or "the registry's own"
    if create and level not in ENOUGH:
        registry.set_compatibility(subject, LEVEL)
    if there and registry.find(subject, text) is not None:
        return Subject(topic=topic, file=file, state="there", was=was)
    if not create:
        return Subject(topic=topic, file=file, state="missing", was=was)
    try:
        registry.register(subject, text)
    except SchemaRefused as refused:
        return Subject(topic=topic, file=file, state="refused", was=was, said=str(refused))
    return Subject(topic=topic, file=file, state="registered", was=was)

"""What the broker has and what the topology asks for. Topics are made on request and never changed quietly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, Literal

import msgspec
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec

from pipeline.errors import PipelineError
from pipeline.topology.model import Topic, Topics

TIMEOUT_S = 15.0
SIZE: Final = "max.message.bytes"
STAMP: Final = "message.timestamp.type"
APPEND_TIME = "LogAppendTime"
AWAY = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}
# A dead letter is a record as it came, but with our headers, and compressed by us: so much larger than the largest that
# its source topic takes.
ROOM = 2


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker and the topology differ in one respect. `what` "missing": the topic isn't there."""

    topic: Topic
    what: Literal[
        "missing", "partitions", "message.timestamp.type", "retention.ms", "cleanup.policy", "max.message.bytes"
    ]
    expected: str
    found: str

    @property
    def fatal(self) -> bool:
        """Whether a worker must not start: rows would go where nobody looks, or wait for a topic that isn't there, or
        a producer's clock would say when everybody's reminders are due."""
        if self.what == "partitions":
            return self.topic.role == "source" or not self.grown
        return self.what in ("missing", STAMP)

    @property
    def grown(self) -> bool:
        """Whether the topic has more partitions than topology.yaml says."""
        return self.what == "partitions" and int(self.found) > int(self.expected)

    def __str__(self) -> str:
        name = self.topic.name
        if self.what == "missing":
            return f"{name}: not on the broker; create it with `pipeline topics --create`"
        if self.what == "partitions":
            there = f"{name}: {self.found} partitions on the broker, {self.expected} in topology.yaml; "
            if not self.grown:
                return there + "set topology.yaml to what the broker has"
            if self.topic.role == "source":
                return there + grown(int(self.found))
            if self.topic.role == "internal":
                return there + f"only the first {self.expected} are used, the others do no harm: leave both as they are"
            return there + "keys spread over all of them; set topology.yaml to what the broker has"
        if self.what == STAMP:
            return (
                f"{name}: {self.what} is {self.found}, so a producer with a wrong clock would make everybody's events "
                f"late; `pipeline topics` sets {self.expected}"
            )
        change = f"kafka-configs.sh --alter --topic {name} --add-config {self.what}={self.expected}"
        if self.what == "max.message.bytes":
            return (
                f"{name}: {self.what} is {self.found} on the broker, less than {ROOM} times that of the source topics; "
                f"a record that can't be processed and doesn't fit in here stops its partition: {change}"
            )
        return (
            f"{name}: {self.what} is {self.found} on the broker, {self.expected} in topology.yaml; change one of them: "
            f"{change}"
        )


def grown(partitions: int) -> str:
    """What to do where somebody has added partitions to a source topic."""
    return (
        f"set `partitions: {partitions}` of this topic there and start the workers (again): they read the new ones from"
        " their beginning, and nothing is lost"
    )


def all_topics(topics: Topics) -> tuple[Topic, ...]:
    """Every topic of a topology: sources first, then the way of an event."""
    segments = () if topics.segments is None else (topics.segments,)
    return (
        *topics.sources,
        topics.resolved,
        topics.triggers,
        topics.decisions,
        *segments,
        topics.dead_letters,
        topics.control,
    )


class Broker:
    """Admin questions, always asked afresh. Raises PipelineError with the broker's words when it doesn't answer."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._settings: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._admin = AdminClient(self._settings)

    async def check(self, topics: Iterable[Topic]) -> list[Difference]:
        """Compare; no findings: all is as the topology says. Order as given."""
        return await asyncio.to_thread(self._guard, self._check, list(topics))

    async def unusable(self, topics: Iterable[Topic], *, wait_s: float = TIMEOUT_S) -> list[Difference]:
        """Why a worker can't start: topics that are missing or have another number of partitions.

        Waits up to `wait_s` for the broker. Asks for metadata alone, which needs no admin rights.
        """
        return await asyncio.to_thread(self._guard, self._unusable, list(topics), wait_s)

    async def create(self, topics: Iterable[Topic]) -> list[str]:
        """Create those that are missing, touch no other; return the names made. PipelineError names what failed."""
        return await asyncio.to_thread(self._guard, self._create, list(topics))

    async def stamp(self, topics: Iterable[Topic]) -> list[str]:
        """Let the broker's clock stamp the records of those that are there and for which the topology asks that; return
        the names of those that were changed. Records that are in them keep what their producers said.
        """
        return await asyncio.to_thread(self._guard, self._stamp, list(topics))

    async def shapes(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Topic -> (its id, how many partitions it has) of those that are there, in one request."""
        return await asyncio.to_thread(self._guard, self._shapes, list(names))

    async def cluster_id(self) -> str:
        """What the brokers call their cluster."""
        known = await asyncio.to_thread(self._guard, partial(AdminClient.list_topics, timeout=TIMEOUT_S))
        return str(known.cluster_id)

    async def end_offsets(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Next offset to be written, of what is committed."""
        return await asyncio.to_thread(self._guard, self._offsets, list(partitions), OffsetSpec.latest())

    async def written_offsets(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Next offset to be written, of whatever was: what lies in open transactions counts."""
        return await asyncio.to_thread(self.written, list(partitions))

    def written(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The same, for who may block."""
        uncommitted, latest = IsolationLevel.READ_UNCOMMITTED, OffsetSpec.latest()
        found: dict[tuple[str, int], int] = self._guard(self._offsets, list(partitions), latest, uncommitted)
        return found

    async def earliest_offsets(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """First offset that is still there."""
        return await asyncio.to_thread(self._guard, self._offsets, list(partitions), OffsetSpec.earliest())

    def _shapes(self, admin: AdminClient, names: list[str]) -> dict[str, tuple[str, int]]:
        found = {}
        answers = admin.describe_topics(TopicCollection(names), request_timeout=TIMEOUT_S)
        for name, answer in answers.items():
            try:
                told = answer.result(timeout=TIMEOUT_S)
            except KafkaException as problem:
                if problem.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
            else:
                found[name] = (str(told.topic_id), len(told.partitions))
        return found

    def _unusable(self, admin: AdminClient, topics: list[Topic], wait_s: float) -> list[Difference]:
        known = admin.list_topics(timeout=wait_s).topics
        findings = []
        for topic in topics:
            if topic.name not in known or known[topic.name].error is not None:
                findings.append(Difference(topic=topic, what="missing", expected="a topic", found="none"))
            elif (count := len(known[topic.name].partitions)) != topic.partitions:
                findings.append(
                    Difference(topic=topic, what="partitions", expected=str(topic.partitions), found=str(count))
                )
        return findings

    def _check(self, admin: AdminClient, topics: list[Topic]) -> list[Difference]:
        findings = self._unusable(admin, topics, TIMEOUT_S)
        missing = {finding.topic.name for finding in findings if finding.what == "missing"}
        there = [topic for topic in topics if topic.name not in missing]
        configs = self._configs(admin, [topic.name for topic in there])
        what: Literal["message.timestamp.type", "retention.ms", "cleanup.policy"]
        for topic in there:
            config = configs[topic.name]
            wanted = _wanted(topic)
            for what in (STAMP, "retention.ms", "cleanup.policy"):
                found = config.get(what, "unknown")
                if found != wanted.get(what, found):
                    findings.append(Difference(topic=topic, what=what, expected=wanted[what], found=found))
            size, needed = config[SIZE], _size(topic, configs)
            if int(size) < needed:
                findings.append(Difference(topic=topic, what=SIZE, expected=str(needed), found=size))
        order = [topic.name for topic in topics]
        return sorted(findings, key=lambda finding: order.index(finding.topic.name))

    def _create(self, admin: AdminClient, topics: list[Topic]) -> list[str]:
        known = admin.list_topics(timeout=TIMEOUT_S).topics
        missing = {topic.name: topic for topic in topics if topic.name not in known or known[topic.name].error}
        made = self._make(admin, [_new(topic) for topic in missing.values() if not topic.wraps])
        # Last, because how large they must be hangs on what the others came to be.
        for topic in missing.values():
            if topic.wraps:
                configs = self._configs(admin, [name for name in topic.wraps if name in known or name in missing])
                made += self._make(admin, [_new(topic, {SIZE: str(_size(topic, configs))} if configs else {})])
        # Made, but perhaps not yet known to who is asked next: `pipeline topics && pipeline worker` must work.
        deadline = time.monotonic() + TIMEOUT_S
        while made and not set(made) <= admin.list_topics(timeout=TIMEOUT_S).topics.keys():
            if time.monotonic() > deadline:
                raise PipelineError(f"topics were created, but Kafka doesn't list them yet: {', '.join(made)}")
            time.sleep(0.05)
        return [name for name in missing if name in made]

    def _stamp(self, admin: AdminClient, topics: list[Topic]) -> list[str]:
        known = admin.list_topics(timeout=TIMEOUT_S).topics
        names = [t.name for t in topics if t.append_time and t.name in known and known[t.name].error is None]
        wrong = [name for name, config in self._configs(admin, names).items() if config.get(STAMP) != APPEND_TIME]
        entry = ConfigEntry(STAMP, APPEND_TIME, incremental_operation=AlterConfigOpType.SET)
        changes = [ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry]) for name in wrong]
        for answer in (admin.incremental_alter_configs(changes) if changes else {}).values():
            answer.result(timeout=TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        while any(config.get(STAMP) != APPEND_TIME for config in self._configs(admin, wrong).values()):
            if time.monotonic() > deadline:
                raise PipelineError(f"{STAMP} was set, but Kafka doesn't say so yet: {', '.join(wrong)}")
            time.sleep(0.05)
        return wrong

    def _make(self, admin: AdminClient, new: list[NewTopic]) -> list[str]:
        made, failed = [], []
        for name, answer in (admin.create_topics(new) if new else {}).items():
            try:
                answer.result(timeout=TIMEOUT_S)
                made.append(name)
            except KafkaException as problem:
                if problem.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody was quicker: `check` compares
                    failed.append(f"{name}: {problem.args[0].str()}")
        if failed:
            raise PipelineError("topics could not be created:\n" + "\n".join(failed))
        return made

    def _configs(self, admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
        """Topic -> setting -> value. Not every broker knows at once of a topic that was made a moment ago."""
        deadline = time.monotonic() + TIMEOUT_S
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        while True:
            try:
                answers = admin.describe_configs(resources, request_timeout=TIMEOUT_S) if resources else {}
                found = {resource.name: answer.result(timeout=TIMEOUT_S) for resource, answer in answers.items()}
            except KafkaException as problem:
                late = problem.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART and time.monotonic() < deadline
                if not late:
                    raise
                time.sleep(0.1)
            else:
                return {name: {key: entry.value for key, entry in config.items()} for name, config in found.items()}

    def _offsets(
        self,
        admin: AdminClient,
        partitions: list[tuple[str, int]],
        spec: Any,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[tuple[str, int], int]:
        if not partitions:
            return {}
        asked = {TopicPartition(topic, partition): spec for topic, partition in partitions}
        try:
            return self._asked(admin, asked, isolation)
        except KafkaException:
            # A broker that restarted refuses who knows its leaders of before, and this call doesn't ask anew by itself.
            admin = self._another(admin)
            return self._asked(admin, asked, isolation)

    def _asked(
        self, admin: AdminClient, asked: dict[TopicPartition, Any], isolation: IsolationLevel
    ) -> dict[tuple[str, int], int]:
        answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=TIMEOUT_S)
        return {(tp.topic, tp.partition): answer.result(timeout=TIMEOUT_S).offset for tp, answer in answers.items()}

    def _guard(self, call: Any, *args: Any) -> Any:
        admin = self._admin  # it must outlive its answers
        try:
            return call(admin, *args)
        except KafkaException as problem:
            self._another(admin)
            error = problem.args[0]
            if error.code() in AWAY:
                raise PipelineError(
                    f"Kafka at {self._bootstrap} doesn't answer ({error.str()}). Check that it runs, and the address:"
                    f" `kafka` in topology.yaml, or PIPELINE_KAFKA."
                ) from problem
            raise PipelineError(f"Kafka at {self._bootstrap}: {error.str()}") from problem
        except TimeoutError as problem:  # of a Future: librdkafka itself says nothing
            self._another(admin)
            raise PipelineError(f"Kafka at {self._bootstrap} hasn't answered for {TIMEOUT_S:g} s.") from problem

    def _another(self, admin: AdminClient) -> AdminClient:
        """Instead of one that failed: librdkafka's that once heard of no broker, or of no leader, as where a broker's
        machine stood still, may never hear of any again (its issues 5301 and 5430).
        """
        if self._admin is admin:
            self._admin = AdminClient(self._settings)
        return self._admin


def _new(topic: Topic, more: dict[str, str] | None = None) -> NewTopic:
    return NewTopic(topic.name, topic.partitions, topic.replication, config={**_wanted(topic), **(more or {})})


def _size(topic: Topic, configs: dict[str, dict[str, str]]) -> int:
    """How many bytes a record batch of `topic` may have at least, for what it wraps; 0: anything will do."""
    return ROOM * max((int(configs[name][SIZE]) for name in topic.wraps if name in configs), default=0)


def _wanted(topic: Topic) -> dict[str, str]:
    retention = -1 if topic.retention_ms is None else topic.retention_ms
    stamped = {STAMP: APPEND_TIME} if topic.append_time else {}
    return {"retention.ms": str(retention), "cleanup.policy": topic.cleanup, **stamped}

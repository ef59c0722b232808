"""The topology as the rest of the package sees it: plain values, checked, durations in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 8 * DAY  # in which any time of day comes on any day of the week, though a clock change skips one
CENTURY = 36_500 * DAY
UNITS = {"seconds": SECOND, "minutes": MINUTE, "hours": HOUR, "days": DAY, "weeks": 7 * DAY}

BROKEN = "broken"
"""The reason of what must not happen after the last step of a sequence: it ends a wait without a decision."""
LIMIT = 100  # values of a namespace a person, where the topology names none


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A Kafka topic. `retention_ms` None: kept for ever (`retention.ms=-1`).

    `stream` (source topics): which recorded events `ingest` writes there: clickstream, email, video or offline.
    `wraps` (dead letters): topics whose records must fit into this one as they are, with headers added.
    `append_time`: its records carry the time at which the broker appended them, not what their producers say.
    `role`: a `source`, which others write; `internal`: between our own, who use its first `partitions` by number alone;
    or `out`.
    """

    name: str
    partitions: int = 4
    retention_ms: int | None = 7 * DAY
    cleanup: Literal["delete", "compact"] = "delete"
    replication: int = 1
    stream: str | None = None
    wraps: tuple[str, ...] = ()
    append_time: bool = False
    role: Literal["source", "internal", "out"] = "source"


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """All topics. `sources` in declared order; the others by role. `control`: one partition, what recordings say.
    `segments`: None where there are none.
    """

    sources: tuple[Topic, ...]
    resolved: Topic
    triggers: Topic
    decisions: Topic
    dead_letters: Topic
    control: Topic
    segments: Topic | None = None


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """When a source partition that is proven read to its end may advance by the clock."""

    after_ms: int = 5 * SECOND
    every_ms: int = 1 * SECOND


class Time(msgspec.Struct, frozen=True, kw_only=True):
    """Event time: see docs in topology.yaml. `zone`: of whom nobody knows where they are."""

    lateness_ms: int = 5 * MINUTE
    disorder_ms: int = 10 * SECOND
    max_age_ms: int = 72 * HOUR
    max_ahead_ms: int = 1 * MINUTE
    idle: Idle = Idle()
    zone: str = "UTC"


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of identifier. Lower `priority` is stronger. `device`: owned by whoever logged in on it last."""

    name: str
    priority: int
    limit: int | None = None
    unique: bool = False
    device: bool = False
    lowercase: bool = False


class Identifiers(msgspec.Struct, frozen=True, kw_only=True):
    """Namespaces in order of priority, and the values (compared in lower case, trimmed) that identify nobody."""

    namespaces: tuple[Namespace, ...]
    blocked: frozenset[str]


class Selector(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a rule's part looks at: any of `events`, all of `where`.

    `where` is path -> operator -> operand, all of which must hold (language/paths.py, operators.py). Operands are
    texts, numbers, bools, a list of them (`in`, `between`), and fit what the path holds; times are RFC 3339 in UTC.
    Where nothing is told only `not` and `exists: false` hold.
    """

    events: tuple[str, ...]
    where: dict[str, dict[str, Any]] = {}


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """What ends a wait.

    `match`: the path that must equal the wait's key, of a list one item; None: any wait of the person. `compares`:
    (path, `key` or `start.path`), which must be equal besides. Operands of `select.where` may be these two as well, see
    language/references.py.
    `without_key`: an event that lacks that field ends `all` waits, `none`, or the one that such events share (`shared`:
    of what must not follow a sequence).
    `before_start`: counts also when it happened before the start. `takes`: the products that the event holds are taken
    out of the person's other carts.
    """

    select: Selector
    reason: str
    match: str | None = None
    compares: tuple[tuple[str, str], ...] = ()
    without_key: Literal["all", "none", "shared"] = "none"
    before_start: bool = False
    takes: bool = False


WrittenCondition = Mapping[str, Any]
"""As it is written (pipeline/language), durations in ms."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Persons of whom `when` holds."""

    name: str
    when: WrittenCondition


Payload = tuple[str, ...] | dict[str, str]
"""What a trigger tells: parts (cart, message, film), or by name these, `cart.total` and the like, `key`, `start.path`,
`trait.name`.
"""


class AfterField(msgspec.Struct, frozen=True, kw_only=True):
    """A wait is as long as its start tells: so many times `unit_ms` as stand under `path`."""

    path: str
    unit_ms: int


class AfterUntil(msgspec.Struct, frozen=True, kw_only=True):
    """A wait lasts so long, and then until it is `minute` past midnight on one of the `days` (0: Monday) where the
    person is; where nobody knows, in `zone`.
    """

    for_ms: int
    minute: int
    days: tuple[int, ...]
    zone: str


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One of several reminders of a wait: `after_ms` after its cause. `payload`, `only_if` None: as the rule says."""

    name: str
    after_ms: int
    payload: Payload | None = None
    only_if: WrittenCondition | None = None


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """A cancel for one of the reasons `by`, after a trigger and at most so long after it was due, is its success."""

    within_ms: int
    by: frozenset[str]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a sequence; `absent`: what must not happen before the next one. In `select.where` `start.NAME.path`
    stands for what the step of that `name` told.
    """

    select: Selector
    name: str | None = None
    absent: bool = False


class Sequence(msgspec.Struct, frozen=True, kw_only=True):
    """Events that follow one another, all `within_ms` of the first. The last step may be `absent`: then it must not
    happen while the rule waits.
    """

    steps: tuple[Step, ...]
    within_ms: int


class Date(msgspec.Struct, frozen=True, kw_only=True):
    """A date that stands under `path`: `offset_ms` after it, at `minute` past midnight there (None: at its own time),
    where the person is; where nobody knows, in `zone`. `yearly`: on its day in every year.
    """

    path: str
    zone: str
    offset_ms: int = 0
    minute: int | None = None
    yearly: bool = False


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger rule, as written in topology.yaml.

    `per`: path that makes parallel instances, of a list one an item; None: one a person. `without_key`: what a start
    without it does (`shared`: one common instance; `ignore`). `once`: a key starts once; remembered for its wait and
    `forget_ms` more, None: for ever. `watched_share`: the start comes with the playback event that brings the seconds
    watched to this share of its `total_length` (`per` is then `film`, and `start` selects every event of a player).
    `until_cart_empty`: reason with which an emptied cart ends the wait, or None. `stages`: several reminders of one
    wait, one after the other; `after_ms` is then the first one's. `after`: how long a wait is where that isn't the same
    for all; `after_ms` is then the shortest. `when`: the start is that this begins to hold, and
    `start` selects nothing. `until`: a condition that ends the wait, with the reason. `only_if`: what must hold when it
    is due. `again`: whether a key that has been decided may start anew; `rest_ms`: not for so long after its last
    trigger was due. `sequence`: the start is that these have followed one another, and `start` selects nothing.
    `follows`: the start is that this rule has decided so, (rule, outcome), and `start` selects nothing.
    `date`: `start` selects what tells a date, and the wait lasts until `after_ms` after that. `on_arrival`: it is
    decided when its start is received.
    """

    name: str
    version: int
    start: Selector
    cancel: tuple[Cancel, ...]
    after_ms: int
    restart: Selector | None = None
    per: str | None = None
    without_key: Literal["shared", "ignore"] = "ignore"
    once: bool = False
    forget_ms: int | None = None
    watched_share: float | None = None
    until_cart_empty: str | None = None
    payload: Payload = ()
    when: WrittenCondition | None = None
    until: tuple[WrittenCondition, str] | None = None
    only_if: WrittenCondition | None = None
    after: AfterField | AfterUntil | None = None
    stages: tuple[Stage, ...] = ()
    recovered: Recovered | None = None
    again: Literal["always", "never"] = "always"
    rest_ms: int = 0
    sequence: Sequence | None = None
    follows: tuple[str, str] | None = None
    date: Date | None = None
    on_arrival: bool = False

    @property
    def at_once(self) -> bool:
        """Whether it waits for nothing: each start is decided by itself."""
        return not (self.after_ms or self.after or self.stages or self.date)

    @property
    def longest_ms(self) -> int:
        """How long its last reminder may wait."""
        if isinstance(self.after, AfterUntil):
            return self.after_ms + WEEK
        if self.after is not None or self.date is not None:
            return CENTURY
        return self.stages[-1].after_ms if self.stages else self.after_ms

    @property
    def parts(self) -> frozenset[str]:
        """What all payloads that it may tell are made of."""
        payloads = [self.payload, *(stage.payload or () for stage in self.stages)]
        return frozenset(part for each in payloads for part in (each.values() if isinstance(each, dict) else each))


class WriteKey(msgspec.Struct, frozen=True, kw_only=True):
    """Who may send events to the collector, and what. `key`: as clients tell it. `public`: it stands in pages or apps,
    where anybody can read it. `types`, `identifiers` (namespaces): that it may send; None: all. `origins`: of pages
    that may use it; None: any. `rate`: events a second, `burst`: at once. `purpose`: to which a person must have
    agreed; events of whoever hasn't are dropped or, `strip`, kept without what says who it was.
    """

    name: str
    key: str
    public: bool
    types: frozenset[str]
    identifiers: frozenset[str] | None = None
    origins: frozenset[str] | None = None
    rate: int = 1_000
    burst: int = 5_000
    purpose: str | None = None
    otherwise: Literal["drop", "strip"] = "drop"


class Spool(msgspec.Struct, frozen=True, kw_only=True):
    """Where events lie that are answered for and not yet in Kafka. `bytes`: of each process at most."""

    directory: str
    bytes: int = 1_000_000_000


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """The collector. Sizes in bytes. `admin_port`: health and metrics of all its processes. `proxies`: networks (CIDR)
    that are believed about whom they speak for. `addresses`: what is kept of a client's. `certificate`, `private_key`:
    files (PEM) with which it speaks HTTPS. `spool` None: an event is answered for when Kafka has it.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    admin_port: int = 8091
    processes: int = 1
    keys: tuple[WriteKey, ...] = ()
    request_bytes: int = 500 * 1024
    event_bytes: int = 32 * 1024
    events: int = 500
    proxies: tuple[str, ...] = ()
    addresses: Literal["drop", "truncate", "keep"] = "truncate"
    certificate: str | None = None
    private_key: str | None = None
    spool: Spool | None = None


class DeadLetterLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A partition stops when more than `share` of the last `window` records, or `run` in a row, were bad."""

    share: float = 0.5
    window: int = 1_000
    run: int = 500


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a deployer says. `left_out`: source partitions that time doesn't wait for, as `topic-partition`.
    `profile_parts`: of those that are only there where they are asked for; None: nobody says.
    `segments`: each after those that it speaks of. `measures`, `lists`: name -> as written, durations in ms.
    `origins`: of the addresses that triggers may hand on, such as `https://shop.example`.
    """

    group: str
    kafka: str
    redis: str
    registry: str
    topics: Topics
    time: Time
    identifiers: Identifiers
    profile_retention_ms: int
    rules: tuple[Rule, ...]
    dead_letter_limit: DeadLetterLimit = DeadLetterLimit()
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    linger_ms: int = 180
    left_out: tuple[str, ...] = ()
    origins: frozenset[str] = frozenset()
    edge: Edge = Edge()
    profile_parts: frozenset[str] | None = None
    segments: tuple[Segment, ...] = ()
    measures: Mapping[str, Any] = {}
    lists: Mapping[str, Any] = {}

    @property
    def source_partitions(self) -> list[str]:
        """Every source partition, as "<topic>-<partition>"."""
        return [f"{topic.name}-{p}" for topic in self.topics.sources for p in range(topic.partitions)]

    @property
    def waited_for(self) -> list[str]:
        """Those that the watermark waits for."""
        return [name for name in self.source_partitions if name not in self.left_out]

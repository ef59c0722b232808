"""What topology.yaml may hold: the one definition behind the linter and the editors' JSON Schema."""

from __future__ import annotations

from pipeline.events.catalogue import STREAMS
from pipeline.grammar.hints import OF_YOUR_OWN
from pipeline.grammar.shapes import (
    Choice,
    Clause,
    Duration,
    EventPath,
    Flag,
    Many,
    Number,
    OneOf,
    Record,
    Table,
    Text,
    Where,
    Whole,
)
from pipeline.grammar.vocabulary import OF_CART, PAYLOADS, event_types, spoken_types
from pipeline.language.conditions import CONDITION
from pipeline.language.leaves.list import LIST
from pipeline.language.leaves.measure import MEASURE
from pipeline.language.zones import DAYS
from pipeline.topology import grammar_starts
from pipeline.topology.model import UNITS

_HOSTS = r"[A-Za-z0-9_.\-\[\]:]+:[0-9]{1,5}(,[A-Za-z0-9_.\-\[\]:]+:[0-9]{1,5})*"
KAFKA = Text("host:port[,host:port...], or mock:// for the embedded broker", rf"mock://({_HOSTS})?|{_HOSTS}")
REDIS = Text(
    "redis://host:port/db, rediss://..., unix:///path, or embedded:// for the server that comes with the package",
    r"(redis|rediss)://[^\s/]+(/[0-9]+)?(\?\S*)?|unix://\S+|embedded://",
)
REGISTRY = Text("http://host:port, https://..., or mock:// for the in-process registry", r"https?://\S+|mock://")
GROUP = Text("letters, digits, '.', '_', '-'", r"[A-Za-z0-9._\-]{1,200}")
PORT = Whole(1, 65_535)
HOST = Text("an address or name of this machine, such as 127.0.0.1 or 0.0.0.0", r"[A-Za-z0-9.\-:]{1,253}")
TOPIC_NAME = Text("a Kafka topic name (letters, digits, '.', '_', '-', at most 249)", r"[A-Za-z0-9._\-]{1,249}")
ORIGIN = Text("https://host or https://host:port, without a path", r"https?://[A-Za-z0-9.\-\[\]:]+/?")
CLOCK = Text('a time of day in quotes, such as "09:00"', r"([01][0-9]|2[0-3]):[0-5][0-9]")
PARTS = ("visits",)  # of a profile: those of pipeline/profile/parts that are asked for
SECTIONS = ("lists", "measures", "segments", "triggers")  # what an included file may hold
WORD = Text("a lower-case name such as abandoned_cart", r"[a-z][a-z0-9_]{0,63}")


PATH = Text("a path such as cart_id, properties.plan or products.sku", r"[a-z][a-z0-9_]*(\..+)?")
REFERENCE = Text("`key`, or `start.` and a path of the start", r"key|start\..+", ("key", "start"))

TOLD = Text(
    f"one of {', '.join(PAYLOADS)}, `cart.` and one of {', '.join(OF_CART)}, `key`, `start.` and a path of the start,"
    " or `trait.` and a trait's name",
    rf"{'|'.join(PAYLOADS)}|cart\.({'|'.join(OF_CART)})|key|start\..+|trait\..+",
    (*PAYLOADS, "key", "start", "trait"),
)


def _event(types: tuple[str, ...] | None = None) -> Many:
    return Many(Choice(types or spoken_types(), "an event type", "unknown-event", OF_YOUR_OWN), single=True, least=1)


def _topic(named: bool) -> Record:
    keys: dict[str, Clause] = {
        "partitions": Clause(Whole(1, 10_000), "How many partitions; fixed for a deployment's life. Default 4."),
        "retention": Clause(Duration(forever=True), "How long Kafka keeps records, or `forever`. Default 7d."),
        "replication": Clause(Whole(1, 100), "Copies on different brokers. Default 1."),
    }
    if named:
        return Record({"name": Clause(TOPIC_NAME, "The topic's name in Kafka."), **keys})
    stream = Clause(
        Choice(STREAMS, "a stream of events"),
        "Which recorded events `pipeline ingest` writes here. Default: the last part of the topic's name.",
    )
    return Record({**keys, "stream": stream})


def _control() -> Record:
    keys = dict(_topic(named=True).keys)
    keys["partitions"] = Clause(Whole(1, 1), "Always 1: what it says has one order for everybody.")
    return Record(keys)


def _topics() -> Record:
    return Record(
        {
            "sources": Clause(
                Table(TOPIC_NAME, _topic(named=False), least=1),
                "Topics that events come in on, by name.",
                required=True,
            ),
            "resolved": Clause(_topic(named=True), "Between the two hops: events of known identity. Internal."),
            "triggers": Clause(_topic(named=True), "What automations consume: fired, retracted and recovered."),
            "decisions": Clause(_topic(named=True), "Every outcome of every rule, with its reason."),
            "segments": Clause(_topic(named=True), "Who enters and leaves segments."),
            "dead_letters": Clause(_topic(named=True), "Records that can't be processed, with the reason."),
            "control": Clause(
                _control(), "What a recording that `pipeline ingest` writes says of time. Nobody else may write here."
            ),
        }
    )


def _time() -> Record:
    idle = Record(
        {
            "after": Clause(
                Duration(), "Silence after which a source partition is asked whether it is read to its end."
            ),
            "every": Clause(Duration(), "How often that is looked at."),
        }
    )
    return Record(
        {
            "lateness": Clause(Duration(0), "How long after a due time late events are still waited for. Default 5m."),
            "disorder": Clause(Duration(0), "How far received_at may run backwards in a partition. Default 10s."),
            "max_age": Clause(Duration(), "An event older than this when received only informs. Default 72h."),
            "max_ahead": Clause(
                Duration(0), "A received_at further ahead of the broker's clock is remarked upon. Default 1m."
            ),
            "zone": Clause(Text(), "Time zone of whom nobody knows where they are. Default UTC."),
            "idle": Clause(idle, "When a partition without events may advance by the broker's clock."),
        }
    )


def _identifiers() -> Record:
    namespace = Record(
        {
            "priority": Clause(Whole(1, 1_000), "1 is the strongest. Default: one more than the namespace above."),
            "unique": Clause(Flag(), "A person has one value at most; two never merge."),
            "limit": Clause(
                Whole(1, 10_000), "Values a person may have; the next is left out of the link. Default 100."
            ),
            "device": Clause(Flag(), "Names a device, not a person: it belongs to who logged in on it last."),
            "lowercase": Clause(Flag(), "Compare values in lower case."),
        }
    )
    return Record(
        {
            "namespaces": Clause(Table(WORD, namespace, least=1), "Kinds of identifiers, by name.", required=True),
            "blocked": Clause(Many(Text()), "Values that identify nobody, whatever their case."),
        }
    )


def _length() -> Record:
    """How long a wait is, where that isn't the same for all."""
    until = Record(
        {
            "time": Clause(CLOCK, "A time of day where the person is.", required=True),
            "days": Clause(
                Many(Choice(DAYS, "a day of the week"), single=True, least=1), "On one of these. Default: any."
            ),
        }
    )
    return Record(
        {
            "field": Clause(
                EventPath(), "What of its start tells how long it is; missing or nought: there is no wait."
            ),
            "unit": Clause(Choice(tuple(UNITS), "a unit of time"), "What the field counts in."),
            "for": Clause(
                Duration(),
                "So long, and then up to `until`, which can't be without it: `1ms` is the next such time, be it today.",
            ),
            "until": Clause(until, "The first such time after that, where the person is, else in `time: zone`."),
        },
        one_of=("field", "for"),
    )


def _rule() -> Record:
    selector = {
        "event": Clause(_event(), "Event type, or a list of them.", required=True),
        "where": Clause(Where(), "Conditions on the event's fields; all must hold."),
    }
    start = Record(
        {
            "event": Clause(_event(), "Event type, or a list of them."),
            "where": Clause(Where(), "Conditions on the event's fields; all must hold."),
            "when": Clause(CONDITION, "Starts each time that this begins to hold, by an event or by time alone."),
            "watched_share": Clause(
                Number(0, 1),
                "Starts with each playback event from the one on that brings the seconds watched to this share of the"
                " film; with `once: true` with the first alone.",
            ),
            "sequence": Clause(
                grammar_starts.sequence(_event(), WORD), "Starts when these have followed one another: steps, in order."
            ),
            "within": Clause(Duration(), "Of a `sequence`: so long after its first step the last one may come."),
            "date": Clause(grammar_starts.date(_event(), CLOCK), "Waits up to a date that is told."),
            "trigger": Clause(grammar_starts.trigger(WORD), "Starts when another rule has decided so."),
        },
        one_of=("event", "when", "watched_share", "sequence", "date", "trigger"),
    )
    cancel = Record(
        {
            **selector,
            "reason": Clause(WORD, "The decision's reason when this ends a wait.", required=True),
            "match": Clause(
                OneOf(EventPath(), Table(PATH, REFERENCE, least=1)),
                "Path that must equal the wait's key, or {path: key, path: start.path}: what must equal what of a wait."
                " Default: ends every wait of the person.",
            ),
            "without_key": Clause(
                Choice(("all", "none"), "which waits an event without the `match` field ends"),
                "An event without the `match` field ends `all` waits of the person, or `none` (default).",
            ),
            "before_start": Clause(Flag(), "Counts also when it happened before the start."),
            "takes": Clause(
                Choice(("products",), "what an event takes out of other carts"),
                "`products`: what an order holds is taken, whole lines, out of the person's other carts.",
            ),
        }
    )
    until = Record(
        {
            "cart": Clause(Choice(("empty",), "a state of the cart"), "`empty`: no line is left."),
            "when": Clause(CONDITION, "Ends the wait at the first moment from its start on at which this holds."),
            "reason": Clause(WORD, "The decision's reason when this ends a wait.", required=True),
        },
        one_of=("cart", "when"),
    )
    single = "single values have names: {first_name: trait.first_name}"
    payload = OneOf(Many(Choice(tuple(PAYLOADS), "a part of the payload", otherwise=single)), Table(WORD, TOLD))
    stage = Record(
        {
            "name": Clause(WORD, "Its name, which its decisions and their ids carry.", required=True),
            "after": Clause(
                Duration(), "How long after the wait's cause. At its end this reminder fires.", required=True
            ),
            "only_if": Clause(CONDITION, "Instead of the rule's: looked at when this reminder is due."),
            "payload": Clause(payload, "What this reminder tells. Default: what the rule says."),
        }
    )
    recovered = Record(
        {
            "within": Clause(
                Duration(),
                "How long after a trigger was due; before it was decided, a cancel is none of its successes.",
                required=True,
            ),
            "by": Clause(Many(WORD, single=True, least=1), "Reasons of cancels. Default: that of the first cancel."),
        }
    )
    rest = Record(
        {"after": Clause(Duration(), "So long after its last trigger was due.", required=True)},
    )
    again = OneOf(Choice(("always", "never"), "always, never, or {after: 7d}"), rest)
    once = Record({"forget": Clause(Duration(), "Remember a key for its wait and this long more.", required=True)})
    return Record(
        {
            "version": Clause(
                Whole(1), "Raise it when the rule's meaning changes: ids of triggers change.", required=True
            ),
            "description": Clause(Text(), "What it is for, in words."),
            "enabled": Clause(Flag(), "`false`: it is checked, but decides nothing. Default: true."),
            "per": Clause(EventPath(), "Field that makes parallel waits. Default: one wait a person."),
            "without_key": Clause(
                Choice(("shared", "ignore"), "what a start without the `per` field does"),
                "Events without the `per` field share one wait of that person, or are ignored (default).",
            ),
            "once": Clause(OneOf(Flag(), once), "A key starts once only: for ever (true), or until forgotten."),
            "again": Clause(
                again, "When a key that has been decided may start anew: always (default), never, or after a while."
            ),
            "start": Clause(start, "What opens a wait.", required=True),
            "restart": Clause(Record(selector), "What moves an open wait; never opens one."),
            "after": Clause(
                OneOf(Duration(), _length()),
                "How long the wait is: 1h; as long as its start tells; or up to a time of day. At its end it fires."
                " Default: no time at all; each start is decided by itself.",
            ),
            "decide": Clause(
                Choice(("on_arrival",), "when a rule without `after` decides"),
                "Of a rule without `after`: `on_arrival` decides when the start is received. Default: `time: lateness`"
                " after it occurred.",
            ),
            "stages": Clause(
                Many(stage, least=1), "Instead of `after`: several reminders of one wait, one after the other."
            ),
            "cancel": Clause(Many(cancel, single=True), "What ends a wait without a trigger."),
            "recovered": Clause(
                recovered,
                "A cancel after a trigger fired is told as its success: outcome `recovered`, of that trigger.",
            ),
            "until": Clause(until, "A state that ends a wait without a trigger."),
            "only_if": Clause(CONDITION, "Looked at when it is due: where it doesn't hold, nothing fires."),
            "payload": Clause(
                payload,
                "What the trigger tells: cart, message, film; or {name: what} of these, cart.total and the like, key,"
                " start.path, trait.name.",
            ),
        },
        apart=("after", "stages"),
    )


def part() -> Record:
    """What a file may hold that a topology includes: what people say of their customers."""
    segment = Record(
        {
            "when": Clause(CONDITION, "Who is in it: of whom this holds.", required=True),
            "description": Clause(Text(), "What it is for, in words."),
            "enabled": Clause(Flag(), "`false`: it is checked, but nobody is in it. Default: true."),
        }
    )
    shapes = {
        "lists": Clause(Table(WORD, LIST), "Answers of which the latest counts, by name."),
        "measures": Clause(Table(WORD, MEASURE), "Numbers that conditions compare, by name."),
        "segments": Clause(Table(WORD, segment), "Who is in one now: entered and left are told on a topic."),
        "triggers": Clause(Table(WORD, _rule()), "Trigger rules, by name."),
    }
    return Record({name: shapes[name] for name in SECTIONS})


def _edge() -> Record:
    key = Record(
        {
            "key": Clause(
                Text("8 to 200 letters, digits, '.', '_', '-'", r"[A-Za-z0-9._\-]{8,200}"),
                "What clients send. Environment: PIPELINE_WRITE_KEY_<NAME>, where this file isn't secret enough.",
            ),
            "public": Clause(Flag(), "It stands in pages or apps: what it tells is unproven. Default: false."),
            "types": Clause(
                _event(event_types()),
                "Event types that it may send. Default: all; with a public key none of e-mails or orders.",
            ),
            "identifiers": Clause(Many(WORD), "Namespaces that it may tell; others are left out. Default: all."),
            "origins": Clause(Many(ORIGIN), "Pages that may use it, such as https://shop.example. Default: any."),
            "rate": Clause(
                Whole(1, 1_000_000), "Events a second, beyond which clients are asked to wait. Default 1000."
            ),
            "burst": Clause(Whole(1, 10_000_000), "Events at once. Default: five seconds' worth."),
            "purpose": Clause(
                Text("a purpose of consent", r".{1,100}"), "To which people must have agreed. Default: to nothing."
            ),
            "otherwise": Clause(
                Choice(("drop", "strip"), "what becomes of events of whoever hasn't agreed"),
                "`drop` (default), or `strip`: kept in the source topic, without identifiers and address.",
            ),
        }
    )
    spool = Record(
        {
            "directory": Clause(Text("a directory"), "On a disk that outlives the machine's failures.", required=True),
            "bytes": Clause(Whole(1_000_000, 10**13), "Of each process at most. Default 1000000000."),
        }
    )
    return Record(
        {
            "host": Clause(HOST, "Where it listens. Default 127.0.0.1, for this machine."),
            "port": Clause(PORT, "Default 8090."),
            "admin_port": Clause(PORT, "/healthz, /readyz and /metrics, for this machine alone. Default 8091."),
            "processes": Clause(Whole(1, 256), "How many; each takes a core. Default 1."),
            "keys": Clause(Table(WORD, key), "Who may send what, by name."),
            "request_bytes": Clause(Whole(1_000, 16_000_000), "Of a request, also unpacked. Default 512000."),
            "event_bytes": Clause(Whole(1_000, 900_000), "Of one event. Default 32768."),
            "events": Clause(Whole(1, 10_000), "In one request. Default 500."),
            "proxies": Clause(
                Many(Text("a network such as 10.0.0.0/8", r"[0-9A-Fa-f.:]+(/[0-9]{1,3})?")),
                "Whose X-Forwarded-For is believed. Default: nobody's.",
            ),
            "certificate": Clause(Text("a file"), "With this certificate (PEM, the whole chain) it speaks HTTPS."),
            "spool": Clause(spool, "Events are answered for when they lie here. Default: when Kafka has them."),
            "private_key": Clause(Text("a file"), "The certificate's (PEM). Default: it stands with the certificate."),
            "addresses": Clause(
                Choice(("drop", "truncate", "keep"), "what is kept of a client's address"),
                "`truncate` (default): the network, /24 or /48.",
            ),
        }
    )


def document() -> Record:
    """The whole of topology.yaml."""
    http = Record(
        {
            "host": Clause(
                HOST, "Where it listens. Default 127.0.0.1, for this machine. Environment: PIPELINE_HTTP_HOST."
            ),
            "port": Clause(
                PORT, "Port of /healthz, /readyz and /metrics. Default 8080. Environment: PIPELINE_HTTP_PORT."
            ),
        }
    )
    batches = Record(
        {
            "linger": Clause(
                Duration(10), "Where little comes, how long events are gathered for a batch, 10ms to 1s. Default 180ms."
            )
        }
    )
    profile = Record(
        {
            "retention": Clause(Duration(), "Silence after which a profile is forgotten. Default 90d."),
            "parts": Clause(
                Many(Choice(PARTS, "a part of a profile that isn't always there"), single=True),
                "Parts of a profile that cost each event, and count from when they are named here. `[]` ends them.",
            ),
        }
    )
    urls = Record(
        {
            "origins": Clause(
                Many(ORIGIN),
                "Triggers hand on addresses of products and pictures that begin with one of these. Default: none.",
                required=True,
            )
        }
    )
    limit = Record(
        {
            "share": Clause(Number(0, 1), "Share of bad records that is too much. Default 0.5."),
            "window": Clause(Whole(1), "Among how many of the last records. Default 1000."),
            "run": Clause(Whole(1), "Bad records in a row that are too many. Default 500."),
        }
    )
    return Record(
        {
            "kafka": Clause(KAFKA, "Kafka's bootstrap servers. Environment: PIPELINE_KAFKA.", required=True),
            "redis": Clause(REDIS, "Redis. Environment: PIPELINE_REDIS.", required=True),
            "registry": Clause(REGISTRY, "The schema registry. Environment: PIPELINE_REGISTRY.", required=True),
            "group": Clause(
                GROUP, "Consumer group and prefix of all keys in Redis. Environment: PIPELINE_GROUP.", required=True
            ),
            "http": Clause(http, "The worker's HTTP server."),
            "topics": Clause(_topics(), "Kafka topics.", required=True),
            "time": Clause(_time(), "Event time."),
            "identifiers": Clause(_identifiers(), "Who is who.", required=True),
            "batches": Clause(batches, "What a worker does at once."),
            "profile": Clause(profile, "What is remembered of a person."),
            "dead_letter_limit": Clause(limit, "When a partition stops instead of draining into the dead letters."),
            "left_out": Clause(
                Many(Text("topic-partition, such as events.email-2", r"[A-Za-z0-9._\-]+-[0-9]{1,5}")),
                "Source partitions that time doesn't wait for; every decision made so says it.",
            ),
            "edge": Clause(_edge(), "The collector, `pipeline edge`."),
            "urls": Clause(urls, "Which addresses triggers may hand on."),
            "include": Clause(
                Many(Text()),
                "Files that hold more rules, segments, measures and lists; their paths begin at this file's folder.",
            ),
            **part().keys,
        }
    )

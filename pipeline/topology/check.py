"""What a grammar can't say: parts of the topology that must fit each other. Values that were wrong are missing here."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any

from pipeline.events.catalogue import STREAMS
from pipeline.grammar.durations import spelt
from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.vocabulary import sendable
from pipeline.language import zones
from pipeline.topology.build import ROLES, priorities
from pipeline.topology.check_conditions import check_conditions
from pipeline.topology.check_rules import check_rule
from pipeline.topology.check_starts import check_chains
from pipeline.topology.check_waits import longest
from pipeline.topology.model import DAY, HOUR, MINUTE, SECOND


def check(values: dict[str, Any], reader: Reader) -> None:
    """Report to `reader` everything in `values` that doesn't fit together."""
    _kafka(values, reader)
    _addresses(values, reader)
    _topics(values, reader)
    _times(values, reader)
    _identifiers(values.get("identifiers", {}), reader)
    _left_out(values, reader)
    _edge(values, reader)
    check_conditions(values, reader)
    for name, rule in values.get("triggers", {}).items():
        check_rule(("triggers", name), rule, reader)
    check_chains(values.get("triggers", {}), reader)


def _kafka(values: dict[str, Any], reader: Reader) -> None:
    if values.get("kafka", "").startswith("mock://"):
        reader.report(
            ("kafka",),
            "embedded-kafka",
            "the embedded broker knows no transactions, so nothing is promised: a crash may lose or double events",
            "for anything but a try-out name a real Kafka, here or in PIPELINE_KAFKA",
            severity="warning",
        )


def _addresses(values: dict[str, Any], reader: Reader) -> None:
    """What was to be put in by something else that wasn't there: it would be taken for a password."""
    for key in ("kafka", "redis", "registry"):
        if found := re.search(r"\$\{[^}]*\}?|\$\([^)]*\)?|\{\{.*", values.get(key) or ""):
            reader.report(
                (key,),
                "not-substituted",
                f"{found[0].split(':')[0].rstrip('}')!r} stands in the address of {key}: nothing puts a value there",
                f"variables in this file are not replaced; set PIPELINE_{key.upper()} to the whole address",
            )


def _topics(values: dict[str, Any], reader: Reader) -> None:
    topics = values.get("topics", {})
    max_age = values.get("time", {}).get("max_age", 72 * HOUR)
    seen: dict[str, tuple[str, Path]] = {}
    streams: dict[str, str] = {}
    for path, name, topic in _all_topics(topics):
        # Kafka makes no difference between "." and "_" in metric names, and refuses two topics that differ in it alone
        folded = name.replace("_", ".")
        if folded in seen:
            first, first_path = seen[folded]
            at = path if reader.has(path) else first_path  # a role's own name may be one that nobody wrote
            at = (*at, "name") if reader.has((*at, "name")) else at
            also = "" if first == name else f" (Kafka can't hold both {first} and {name})"
            message = f"the topic {name} has two uses{also}"
            reader.report(at, "duplicate-topic", message, "give each its own name", key=at[-1] != "name")
        seen.setdefault(folded, (name, path))
        if name in (".", ".."):
            reader.report(path, "bad-name", f"Kafka has no topic named {name!r}", key=True)
        retention = topic.get("retention", 7 * DAY)
        if path[1] in ("sources", "resolved") and retention is not None and retention < max_age:
            message = f"{name} is kept for {spelt(retention)}, shorter than time.max_age ({spelt(max_age)})"
            hint = "a worker that stands still for longer than the retention loses events, and then refuses to start"
            reader.report((*path, "retention"), "short-retention", message, hint, severity="warning")
        if path[1] != "sources":
            continue
        last = name.rpartition(".")[2]
        stream = topic.get("stream", last if last in STREAMS else None)
        if stream in streams:
            message = f"the stream {stream} goes to {streams[stream]} already"
            reader.report((*path, "stream"), "duplicate-stream", message, "one topic a stream", key=True)
        elif stream:
            streams[stream] = name


def _all_topics(topics: dict[str, Any]) -> list[tuple[Path, str, dict[str, Any]]]:
    found: list[tuple[Path, str, dict[str, Any]]] = [
        (("topics", "sources", name), name, topic) for name, topic in topics.get("sources", {}).items()
    ]
    for role, default in ROLES.items():
        topic = topics.get(role, {})
        found.append((("topics", role), topic.get("name", default), topic))
    return found


def _times(values: dict[str, Any], reader: Reader) -> None:
    time = values.get("time", {})
    max_age = time.get("max_age", 72 * HOUR)
    if time.get("lateness", 5 * MINUTE) > max_age:
        message = "lateness is longer than max_age: events are still waited for that only inform when they come"
        reader.report(("time", "lateness"), "bad-time", message, "shorten lateness")
    if (zone := time.get("zone")) is not None and zones.named(zone) is None:
        hint = suggest(zone, {name.lower(): name for name in zones.names()}.keys(), "")
        message = f"{zone!r} is no time zone"
        reader.report(("time", "zone"), "unknown-zone", message, hint or "write a name such as Europe/Vienna")
    linger = values.get("batches", {}).get("linger", 0)
    if linger > SECOND:
        message = f"linger is {spelt(linger)}: whatever is asked of a broker may wait so long"
        reader.report(("batches", "linger"), "long-linger", message, "at most 1s; beyond 300ms little is saved")
    retention = values.get("profile", {}).get("retention", 90 * DAY)
    for name, rule in values.get("triggers", {}).items():
        part, after = longest(rule)
        if after and after + max_age > retention:
            forgotten = f"a profile is forgotten after {spelt(retention)} of silence"
            message = f"{name} reaches {spelt(after)} back, but {forgotten}"
            hint = f"profile.retention must be at least {spelt(after + max_age)} (that and time.max_age)"
            reader.report(("triggers", name, *part), "short-profile", message, hint)


def _identifiers(identifiers: dict[str, Any], reader: Reader) -> None:
    namespaces = identifiers.get("namespaces", {})
    path = ("identifiers", "namespaces")
    taken: dict[int, str] = {}
    for name, priority in priorities(namespaces).items():
        if priority in taken:
            message = f"{name} and {taken[priority]} both have priority {priority}"
            reader.report((*path, name, "priority"), "duplicate-priority", message, "the order must be strict")
        taken.setdefault(priority, name)
    for name, value in namespaces.items():
        if value.get("unique") and value.get("limit", 1) > 1:
            message = f"{name} is unique, so a person has one at most, not {value['limit']}"
            reader.report((*path, name, "limit"), "conflict", message, "remove limit or unique")
        if value.get("unique") and value.get("device"):
            message = f"{name} names a device, which several people may share: it can't be unique to a person"
            reader.report((*path, name, "unique"), "conflict", message, "remove unique or device")
    said = [name for name, value in namespaces.items() if value.get("unique", reader.has((*path, name, "unique")))]
    if namespaces and not said:
        message = "no namespace is unique: nothing keeps two people apart who once shared an identifier"
        reader.report(path, "no-unique", message, "usually user_id is unique", severity="warning", key=True)
    seen: set[str] = set()
    for index, value in enumerate(identifiers.get("blocked", ())):
        folded = value.strip().lower()
        if folded in seen:
            reader.report(
                ("identifiers", "blocked", index),
                "duplicate-value",
                f"{value!r} is there twice",
                "case and surrounding blanks make no difference",
                severity="warning",
            )
        seen.add(folded)


def _left_out(values: dict[str, Any], reader: Reader) -> None:
    sources = values.get("topics", {}).get("sources", {})
    for index, entry in enumerate(values.get("left_out", ())):
        path = ("left_out", index)
        topic, _, partition = entry.rpartition("-")
        if topic not in sources:
            reader.report(path, "unknown-topic", f"{topic} is no source topic", suggest(topic, sources))
            continue
        count = sources[topic].get("partitions", 4)
        if int(partition) >= count:
            reader.report(path, "bad-value", f"{topic} has the partitions 0 to {count - 1}")
            continue
        reader.report(
            path,
            "left-out",
            f"nothing waits for {entry}: decisions don't take account of what it still holds",
            "remove it when the partition is well again",
            severity="warning",
        )


def _edge(values: dict[str, Any], reader: Reader) -> None:
    edge = values.get("edge", {})
    namespaces = values.get("identifiers", {}).get("namespaces", {})
    named: dict[str, str] = {}
    for name, value in edge.get("keys", {}).items():
        path = ("edge", "keys", name)
        if (key := value.get("key")) is None and not reader.has((*path, "key")):
            hint = f"write one here, or set PIPELINE_WRITE_KEY_{name.upper()}"
            reader.report(path, "missing-key", f"{name} has no key", hint, key=True)
        elif key is not None and key in named:
            reader.report((*path, "key"), "duplicate-value", f"{named[key]} has the same key", "give each its own")
        elif key is not None:
            named[key] = name
        for index, namespace in enumerate(value.get("identifiers", ())):
            if namespace not in namespaces:
                at = (*path, "identifiers", index)
                reader.report(at, "unknown-namespace", f"{namespace} is no namespace", suggest(namespace, namespaces))
        if "otherwise" in value and "purpose" not in value:
            reader.report((*path, "otherwise"), "no-purpose", f"{name} needs nobody's agreement", "name its `purpose`")
        told = sorted({*value.get("types", ())} - {*sendable(public=True)})
        if value.get("public") and told:
            message = f"anybody who reads the page of {name} can send {told[0]}"
            reader.report((*path, "types"), "public-type", message, "a secret key, in a server", severity="warning")
    for index, network in enumerate(edge.get("proxies", ())):
        try:
            ip_network(network, strict=False)
        except ValueError:
            reader.report(("edge", "proxies", index), "bad-value", f"{network} is no network", "write 10.0.0.0/8")

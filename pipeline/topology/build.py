"""Checked values -> Topology."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Any, Literal

import msgspec

from pipeline.events.catalogue import STREAMS
from pipeline.grammar.vocabulary import playback_types, sendable
from pipeline.language import zones
from pipeline.language.condition import Scope
from pipeline.language.references import KEY
from pipeline.language.speaks import hangs_on
from pipeline.topology import build_starts, emptied, model
from pipeline.topology.addresses import origin

ROLES = {
    "resolved": "identity.resolved",
    "triggers": "triggers",
    "decisions": "decisions",
    "dead_letters": "events.dead-letter",
    "control": "events.control",
    "segments": "segments",
}
CONTROL_PARTITIONS = 1  # its words have one order for everybody


def topology(values: dict[str, Any], *, everything: bool = False) -> model.Topology:
    """`values`: what Reader read and check.py found nothing wrong with. `everything`: also what is switched off."""
    limit = values.get("dead_letter_limit", {})
    time = _time(values.get("time", {}))
    scope = Scope(measures=values.get("measures", {}), lists=values.get("lists", {}))
    segments = _segments(values.get("segments", {}), scope, everything)
    return model.Topology(
        group=values["group"],
        kafka=values["kafka"],
        redis=values["redis"],
        registry=values["registry"],
        topics=_topics(values["topics"], segments=bool(segments)),
        time=time,
        identifiers=_identifiers(values["identifiers"]),
        profile_parts=None if (parts := values.get("profile", {}).get("parts")) is None else frozenset(parts),
        profile_retention_ms=values.get("profile", {}).get("retention", 90 * model.DAY),
        rules=tuple(
            rule(name, value, time.zone)
            for name, value in values.get("triggers", {}).items()
            if everything or value.get("enabled", True)
        ),
        dead_letter_limit=model.DeadLetterLimit(**limit),
        http_host=values.get("http", {}).get("host", "127.0.0.1"),
        http_port=values.get("http", {}).get("port", 8080),
        linger_ms=values.get("batches", {}).get("linger", 180),
        left_out=tuple(values.get("left_out", ())),
        origins=frozenset(filter(None, map(origin, values.get("urls", {}).get("origins", ())))),
        edge=_edge(values.get("edge", {})),
        segments=segments,
        measures=scope.measures,
        lists=scope.lists,
    )


def _segments(values: dict[str, Any], scope: Scope, everything: bool) -> tuple[model.Segment, ...]:
    """Those that are switched on, each after those that it speaks of, or whose changes it counts."""
    conditions = {name: value["when"] for name, value in values.items() if everything or value.get("enabled", True)}
    before = {name: hangs_on(when, conditions, scope.measures, scope.lists) for name, when in conditions.items()}
    return tuple(model.Segment(name=name, when=conditions[name]) for name in TopologicalSorter(before).static_order())


def _edge(values: dict[str, Any]) -> model.Edge:
    plain = {name: value for name, value in values.items() if name not in ("keys", "proxies", "spool")}
    keys = tuple(_key(name, value) for name, value in values.get("keys", {}).items())
    spool = model.Spool(**values["spool"]) if "spool" in values else None
    return model.Edge(**plain, keys=keys, proxies=tuple(values.get("proxies", ())), spool=spool)


def _key(name: str, value: dict[str, Any]) -> model.WriteKey:
    public, rate = value.get("public", False), value.get("rate", 1_000)
    origins = value.get("origins")
    return model.WriteKey(
        name=name,
        key=value["key"],
        public=public,
        types=frozenset(value["types"] if "types" in value else sendable(public)),
        identifiers=frozenset(value["identifiers"]) if "identifiers" in value else None,
        origins=None if origins is None else frozenset(filter(None, map(origin, origins))),
        rate=rate,
        burst=value.get("burst", 5 * rate),
        purpose=value.get("purpose"),
        otherwise=value.get("otherwise", "drop"),
    )


def _topic(name: str, value: dict[str, Any]) -> model.Topic:
    last = name.rpartition(".")[2]
    return model.Topic(
        name=name,
        partitions=value.get("partitions", 4),
        retention_ms=value.get("retention", 7 * model.DAY),
        replication=value.get("replication", 1),
        stream=value.get("stream", last if last in STREAMS else None),
        append_time=True,
    )


def _topics(values: dict[str, Any], *, segments: bool) -> model.Topics:
    roles: dict[str, model.Topic] = {}
    for role, name in ROLES.items():
        if role == "segments" and not segments:
            continue
        value = values.get(role, {})
        topic = _topic(value.get("name", name), value)
        partitions = CONTROL_PARTITIONS if role == "control" else topic.partitions
        roles[role] = model.Topic(
            name=topic.name,
            partitions=partitions,
            retention_ms=topic.retention_ms,
            replication=topic.replication,
            role="internal" if role in ("resolved", "control") else "out",
            append_time=role in ("resolved", "control"),
        )
    sources = tuple(_topic(*item) for item in values["sources"].items())
    wraps = tuple(source.name for source in sources)
    roles["dead_letters"] = msgspec.structs.replace(roles["dead_letters"], wraps=wraps)
    return model.Topics(sources=sources, **roles)


def _time(values: dict[str, Any]) -> model.Time:
    times: dict[str, Any] = {f"{name}_ms": value for name, value in values.items() if name not in ("idle", "zone")}
    idle = {f"{name}_ms": value for name, value in values.get("idle", {}).items()}
    return model.Time(**times, idle=model.Idle(**idle), zone=zones.named(values.get("zone", "UTC")) or "UTC")


def priorities(values: dict[str, Any]) -> dict[str, int]:
    """Namespace -> priority; one that says none comes after the one written above it."""
    found: dict[str, int] = {}
    last = 0
    for name, value in values.items():
        last = value.get("priority", last + 1)
        found[name] = last
    return found


def _limit(value: dict[str, Any]) -> dict[str, int]:
    """Every namespace has one: a broken client may tell any number of values of one person."""
    return {} if value.get("unique") else {"limit": model.LIMIT}


def _identifiers(values: dict[str, Any]) -> model.Identifiers:
    namespaces = values["namespaces"]
    ranked = priorities(namespaces)
    found = [
        model.Namespace(name=name, **{**_limit(value), **value, "priority": ranked[name]})
        for name, value in namespaces.items()
    ]
    blocked = frozenset(value.strip().lower() for value in values.get("blocked", ()))
    return model.Identifiers(namespaces=tuple(sorted(found, key=lambda each: each.priority)), blocked=blocked)


def _selector(value: dict[str, Any]) -> model.Selector:
    if "watched_share" in value:
        return model.Selector(events=playback_types())
    if "date" in value:
        return build_starts.telling(value["date"])
    if "event" not in value:
        return model.Selector(events=())
    return model.Selector(events=tuple(value["event"]), where=value.get("where", {}))


def rule(name: str, value: dict[str, Any], zone: str) -> model.Rule:
    """One entry of `triggers`. `zone`: of whom nobody knows where they are."""
    once, until = value.get("once", False), value.get("until") or {}
    keyless: Literal["shared", "ignore"] = value.get("without_key", "ignore")
    stages = tuple(_stage(item) for item in value.get("stages", ()))
    sequence = build_starts.sequence(value["start"])
    cancels = tuple(_cancel(item) for item in value.get("cancel", ()))
    return model.Rule(
        name=name,
        version=value["version"],
        start=_selector(value["start"]),
        restart=_selector(value["restart"]) if value.get("restart") else None,
        cancel=(*cancels, *build_starts.breaks(sequence, value.get("per"), keyless)),
        after_ms=stages[0].after_ms
        if stages
        else _shortest(value.get("after", build_starts.lasts(value["start"]) or 0)),
        after=_after(value.get("after"), zone),
        per=value.get("per"),
        without_key=keyless,
        once=bool(once),
        forget_ms=once["forget"] if isinstance(once, dict) else None,
        watched_share=value["start"].get("watched_share"),
        until_cart_empty=until["reason"] if emptied.ends(value) else None,
        when=value["start"].get("when"),
        until=(until["when"], until["reason"]) if "when" in until and not emptied.ends(value) else None,
        only_if=value.get("only_if"),
        payload=_payload(value.get("payload", ())),
        stages=stages,
        recovered=_recovered(value),
        again="never" if value.get("again") == "never" else "always",
        rest_ms=value["again"]["after"] if isinstance(value.get("again"), dict) else 0,
        sequence=sequence,
        follows=build_starts.follows(value["start"]),
        date=build_starts.date(value["start"], zone),
        on_arrival=value.get("decide") == "on_arrival",
    )


def _recovered(value: dict[str, Any]) -> model.Recovered | None:
    """By whatever the first cancel says, where nothing else is said."""
    if (told := value.get("recovered")) is None:
        return None
    by = told["by"] if "by" in told else [value["cancel"][0]["reason"]]
    return model.Recovered(within_ms=told["within"], by=frozenset(by))


def _shortest(after: int | dict[str, Any]) -> int:
    if isinstance(after, dict):
        return int(after.get("for", 0))
    return after


def _after(value: int | dict[str, Any] | None, zone: str) -> model.AfterField | model.AfterUntil | None:
    if not isinstance(value, dict):
        return None
    if "field" in value:
        return model.AfterField(path=value["field"], unit_ms=model.UNITS[value["unit"]])
    until = value["until"]
    hour, _, minute = until["time"].partition(":")
    days = sorted({zones.DAYS.index(day) for day in until.get("days", zones.DAYS)})
    return model.AfterUntil(for_ms=value["for"], minute=int(hour) * 60 + int(minute), days=tuple(days), zone=zone)


def _stage(value: dict[str, Any]) -> model.Stage:
    payload = _payload(value["payload"]) if "payload" in value else None
    return model.Stage(name=value["name"], after_ms=value["after"], payload=payload, only_if=value.get("only_if"))


def _payload(value: list[str] | dict[str, str]) -> model.Payload:
    return value if isinstance(value, dict) else tuple(value)


def _cancel(value: dict[str, Any]) -> model.Cancel:
    told = value.get("match")
    pairs = dict(told) if isinstance(told, dict) else {told: KEY} if told else {}
    match = next((path for path, reference in pairs.items() if reference == KEY), None)
    return model.Cancel(
        select=_selector(value),
        reason=value["reason"],
        match=match,
        compares=tuple((path, reference) for path, reference in pairs.items() if path != match),
        without_key=value.get("without_key", "none"),
        before_start=value.get("before_start", False),
        takes=value.get("takes") == "products",
    )

"""What came out against what `pipeline replay` says of the same events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import redis

from pipeline.events.times import rfc3339
from pipeline.profile.profile import Profile, decode
from pipeline.runtime.recordings import merged
from pipeline.runtime.replay import Replay
from pipeline.triggers.rules import RuleBook
from tests.chaos.rig import Books
from tests.chaos.stream import LATENESS, Tie
from tests.deployment import Deployment
from tests.oracle.compare import comparable, milliseconds
from tests.replayed import FAR, Folded, folded

ACTED_ON = ("fired", "retracted", "recovered")
NOT_FOR_THEM = b"wrong_partitions"
"""Words of the recording that name partitions which were just added, read by those who don't know of them; and the
other way round. The next ones, in a moment, do."""


@dataclass
class Expected:
    """By `replay`: decisions, profiles and changes of segments, by id."""

    decisions: dict[str, dict[str, Any]]
    profiles: dict[str, Profile]
    changes: dict[str, dict[str, Any]]
    until: int
    """Up to where time went on (UTC ms)."""

    @property
    def triggers(self) -> set[str]:
        """Ids of what somebody acts on."""
        return {i for i, d in self.decisions.items() if d["outcome"] in ACTED_ON}

    def ties(self, ties: Sequence[Tie]) -> int:
        """How many of the ties were received between D and D + lateness of a wait that was open."""
        due = {d["correlation_key"]: comparable(d)["due_at"] for d in self.decisions.values()}
        return sum(t.cart in due and due[t.cart] <= t.received_at <= due[t.cart] + LATENESS for t in ties)


def expect(deployment: Deployment, files: Sequence[Path], until: int | None = None) -> Expected:
    """Ask the command line for decisions and changes of segments, and the same code for the profiles. `until`: how far
    `ingest` lets time go on (UTC ms), where conditions are looked at; None: nothing turns by time alone.
    """
    told_changes = deployment.folder / "changes.jsonl"
    options = [] if until is None else ["--segments", str(told_changes), "--until", rfc3339(until)]
    told = deployment.run("replay", *map(str, files), *options)
    decisions = [json.loads(line) for line in told.splitlines()]
    lines = [] if until is None else told_changes.read_text(encoding="utf-8").splitlines()
    changes = [json.loads(line) for line in lines]
    replay = Replay(deployment.topology)
    for line in merged(files):
        assert line.event is not None, line.error
        for _ in replay.feed(line.event, 1 << 60):
            pass
    for _ in replay.finish() if until is None else replay.advance(until + 1):
        pass
    return Expected(
        {d["id"]: d for d in decisions}, replay.profiles, {c["id"]: c for c in changes}, FAR if until is None else until
    )


@dataclass
class Verdict:
    """What is wrong, by kind, in words; and what was counted."""

    lost: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    two_faced: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    published: int = 0
    decisions: int = 0
    changes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    dead_letters: list[str] = field(default_factory=list)
    """Those that are missing, or of records that were good."""
    refused: int = 0

    @property
    def duplicates(self) -> int:
        """Decisions published more than once, which consumers drop by id."""
        return self.published - self.decisions

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not (self.lost or self.false or self.two_faced or self.different or self.profiles or self.dead_letters)

    def __str__(self) -> str:
        said = [
            f"{len(each)} {name}"
            for name, each in (
                ("triggers and decisions lost", self.lost),
                ("false", self.false),
                ("ids with two payloads", self.two_faced),
                ("decisions that differ", self.different),
                ("profiles that differ", self.profiles),
                ("dead letters missing or too many", self.dead_letters),
            )
            if each
        ]
        return ", ".join(said) or "0 lost, 0 false, 0 with two payloads, 0 profiles that differ"

    def details(self, most: int = 5) -> str:
        """The first few of each kind."""
        out = []
        for name in ("lost", "false", "two_faced", "different", "profiles", "dead_letters"):
            each = getattr(self, name)
            out += [f"{name}: {one}" for one in each[:most]]
        return "\n".join(out)


def judge(
    deployment: Deployment,
    expected: Expected,
    foreign: set[tuple[str, int, int]],
    without: Callable[[Folded], None] = lambda profile: None,
) -> Verdict:
    """Read everything back and compare. `foreign`: where the records stand that must have become dead letters.
    `without`: takes out of a profile what isn't looked at.
    """
    verdict = Verdict()
    got = _once(deployment.decisions(), verdict)
    triggers = _once(deployment.triggers(), verdict)
    verdict.decisions = len(got)
    verdict.outcomes = Counter(f"{d['rule']} {d['outcome']}" for d in got.values())
    got, triggers = (_up_to(expected.until, found, "decided_at") for found in (got, triggers))
    want = _up_to(expected.until, {i: _shape(d) for i, d in expected.decisions.items()}, "decided_at")
    for i in want.keys() - got.keys():
        verdict.lost.append(json.dumps(want[i], sort_keys=True))
    for i in got.keys() - want.keys():
        verdict.false.append(json.dumps(got[i], sort_keys=True))
    acted_on = expected.triggers & want.keys()
    for i in acted_on - triggers.keys():
        verdict.lost.append(f"trigger {json.dumps(want[i], sort_keys=True)}")
    for i in triggers.keys() - acted_on:
        verdict.false.append(f"trigger {json.dumps(triggers[i], sort_keys=True)}")
    for i in want.keys() & got.keys():
        if want[i] != got[i]:
            verdict.different.append(_pair(got[i], want[i]))
    for i in acted_on & triggers.keys():
        if triggers[i] != want[i]:
            verdict.different.append(_pair(triggers[i], want[i]))
    _compare_changes(deployment, expected, verdict)
    verdict.published = len(deployment.read(deployment.topology.topics.decisions.name))
    letters = deployment.read(deployment.topology.topics.dead_letters.name)
    refused = {_place(letter) for letter in letters if ("pipeline.reason", NOT_FOR_THEM) not in letter.headers()}
    verdict.refused = len(refused)
    verdict.dead_letters += [f"none of {place}" for place in foreign - refused]
    verdict.dead_letters += [f"one of {place}" for place in refused - foreign]
    got_profiles = stored_profiles(deployment)
    _compare_profiles(
        got_profiles, expected.profiles, RuleBook(deployment.topology), verdict, without, expected.until < FAR
    )
    return verdict


def _compare_changes(deployment: Deployment, expected: Expected, verdict: Verdict) -> None:
    """Who entered and left segments."""
    topic = deployment.topology.topics.segments
    got = {} if topic is None else _once(deployment.avro(topic.name), verdict)
    got = _up_to(expected.until, got, "at")
    want = _up_to(expected.until, {i: _shape(each) for i, each in expected.changes.items()}, "at")
    verdict.changes = len(got)
    verdict.lost += [json.dumps(want[i], sort_keys=True) for i in want.keys() - got.keys()]
    verdict.false += [json.dumps(got[i], sort_keys=True) for i in got.keys() - want.keys()]
    verdict.different += [_pair(got[i], want[i]) for i in want.keys() & got.keys() if got[i] != want[i]]


def _up_to(until: int, found: dict[str, dict[str, Any]], when: str) -> dict[str, dict[str, Any]]:
    """Those that were made by then: after it time goes on with the clock, or, in `replay`, not at all."""
    return {i: each for i, each in found.items() if each[when] <= until}


def _place(letter: Any) -> tuple[str, int, int]:
    told = {name: value.decode() for name, value in letter.headers() if name.startswith("__connect.errors.")}
    topic, partition, offset = (told[f"__connect.errors.{name}"] for name in ("topic", "partition", "offset"))
    return topic, int(partition), int(offset)


def _pair(got: Any, want: Any) -> str:
    return f"{json.dumps(got, sort_keys=True)}\n     replay: {json.dumps(want, sort_keys=True)}"


def _shape(decision: dict[str, Any]) -> dict[str, Any]:
    """What must be the same: everything but the profile id (semantics 2). Of a decision, or a change of a segment."""
    told = {k: v for k, v in comparable(decision).items() if v is not None or k == "correlation_key"}
    if isinstance(told.get("at"), str):
        told["at"] = milliseconds(told["at"])
    return told


def _once(published: list[dict[str, Any]], verdict: Verdict) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for decision in published:
        shape = _shape(decision)
        had = found.setdefault(decision["id"], shape)
        if had != shape:
            verdict.two_faced.append(_pair(shape, had))
    return found


def stored_profiles(deployment: Deployment) -> dict[str, Profile]:
    """All profiles in Redis."""
    books, found = Books(deployment.topology), {}
    with redis.Redis.from_url(deployment.topology.redis) as client:
        for partition in range(books.partitions):
            for name, raw in dict(client.hgetall(books.keys(partition)[1])).items():
                state = decode(raw)
                if isinstance(state, Profile):
                    found[name.decode()] = state
    return found


def _compare_profiles(
    got: dict[str, Profile],
    want: dict[str, Profile],
    book: RuleBook,
    verdict: Verdict,
    without: Callable[[Folded], None],
    going_on: bool,
) -> None:
    for i in got.keys() ^ want.keys():
        verdict.profiles.append(f"{i} only {'here' if i in got else 'in replay'}")
    for i in got.keys() & want.keys():
        try:
            profiles = [folded(each[i], book, going_on=going_on) for each in (got, want)]
            for profile in profiles:
                without(profile)
            mine, theirs = (msgspec.to_builtins(profile) for profile in profiles)
        except AssertionError as undecided:
            verdict.profiles.append(f"{i}: {undecided}")
            continue
        if found := differing(mine, theirs):
            verdict.profiles.append(f"{i}: {'; '.join(found)}")


def differing(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two plain values differ, and how."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for k in {**a, **b} for d in differing(a.get(k), b.get(k), f"{path}.{k}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for n, (x, y) in enumerate(zip(a, b, strict=True)) for d in differing(x, y, f"{path}[{n}]")]
    return [] if a == b else [f"{path}: {a!r:.200} (replay: {b!r:.200})"]

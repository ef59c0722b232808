"""A file of rule tests -> tests, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import InvalidEvent
from pipeline.events.codec import Decoder, Encoder
from pipeline.events.model import CONSENT, Event
from pipeline.events.registry import connect
from pipeline.events.segment_fields import texts
from pipeline.grammar.findings import Finding, suggest
from pipeline.grammar.hints import OF_YOUR_OWN
from pipeline.grammar.reader import Path as Place
from pipeline.grammar.reader import Reader
from pipeline.grammar.shapes import Anything, Choice, Clause, Many, Moment, Record, Text, Time
from pipeline.grammar.vocabulary import Field, bodies, context, event_types, field_names
from pipeline.topology.grammar import WORD
from pipeline.topology.model import Topology

CHANGES = ("entered", "left")
OUTCOMES = ("fired", "cancelled", "suppressed", "retracted", "recovered")
BEGINS = 1_767_603_600_000  # 2026-01-05T09:00:00Z, a Monday morning
_OWN = ("at", "received", "who", "event", "context")


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that shall be made. What is None isn't looked at; of `payload` and `contact` only what is there.
    `due`, `decided`: ms after the test's beginning. `who`: namespace -> value. `line`: where it stands in its file.
    """

    line: int
    outcome: str
    rule: str | None = None
    reason: str | None = None
    who: dict[str, str] = {}
    key: str | None = None
    stage: str | None = None
    due: int | None = None
    decided: int | None = None
    payload: dict[str, Any] = {}
    contact: dict[str, Any] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A person shall enter or leave a segment. What is None isn't looked at. `at`: ms after the test's beginning.
    `who`: namespace -> value. `line`: where it stands in its file.
    """

    line: int
    change: str
    segment: str | None = None
    reason: str | None = None
    who: dict[str, str] = {}
    at: int | None = None


class RuleTest(msgspec.Struct, frozen=True, kw_only=True):
    """`events`: in the order in which they were received. `begins`: UTC ms. `until`: UTC ms up to which time goes on
    when the last one has come.

    `rules`, `segments`: whose decisions and changes are compared; None: of all that are on. `on`: rules and segments
    that are tried, whether the topology has them switched on or off. `expected`, `changes`: None: aren't looked at.
    """

    file: str
    line: int
    name: str
    begins: int
    rules: tuple[str, ...] | None
    events: tuple[Event, ...]
    expected: tuple[Expected, ...] | None
    segments: tuple[str, ...] | None = None
    changes: tuple[Change, ...] | None = None
    on: frozenset[str] = frozenset()
    until: int | None = None


def read(path: Path, topology: Topology) -> tuple[list[RuleTest], list[Finding]]:
    """The tests of a file; none where anything is wrong, which the findings tell with line and column.

    `topology`: with all that is switched off in it switched on.
    """
    reader = Reader(str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = f"can't be read: {error.strerror}" if isinstance(error, OSError) else "is not UTF-8"
        reader.report((), "no-file", f"the file {what}")
        return [], reader.findings
    rules = tuple(rule.name for rule in topology.rules)
    segments = tuple(segment.name for segment in topology.segments)
    values = reader.read(text, grammar(rules, segments))
    tests = _File(reader, topology, values).tests() if isinstance(values, dict) else []
    return ([] if reader.findings else tests), sorted(reader.findings)


@cache
def grammar(rules: tuple[str, ...] | None = None, segments: tuple[str, ...] | None = None) -> Record:
    """What a file of rule tests may hold. `rules`, `segments`: the topology's; None: whichever there are."""
    meant = {name: f"it is a rule: write rule: {name}" for name in rules or ()}
    segment = WORD if segments is None else Choice(segments, "a segment of the topology", "unknown-segment", "", meant)
    meant = {name: f"it is a segment: write segment: {name}" for name in segments or ()}
    rule = WORD if rules is None else Choice(rules, "a rule of the topology", "unknown-rule", "", meant)
    who = Clause(Anything(), "A name, or identifiers: {user_id: ann, anonymous_id: tablet}.")
    event = Record(
        {
            "at": Clause(Moment(), "When it occurred, after the test's beginning.", required=True),
            "received": Clause(Moment(), "When it was received. Default: when it occurred."),
            "who": Clause(Anything(), "A name, or identifiers: {user_id: ann, anonymous_id: tablet}.", required=True),
            "event": Clause(
                Choice(event_types(), "an event type", "unknown-event", OF_YOUR_OWN), "Its type.", required=True
            ),
            "context": Clause(Anything(), "Its context: {timezone: Europe/Vienna, consent: {marketing: true}}."),
            **{field: Clause(Anything(), "A field of its body.") for field in field_names() if field not in _OWN},
        }
    )
    decision = Record(
        {
            "rule": Clause(rule, "Default: the file's or test's rule."),
            "outcome": Clause(Choice(OUTCOMES, "an outcome"), "Default: fired."),
            "reason": Clause(Text(), "Such as bought, due or overtaken."),
            "who": who,
            "key": Clause(Anything(), "The correlation key, such as a cart's id."),
            "stage": Clause(Text(), "Its name, where a wait has several."),
            "due": Clause(Moment(), "When its wait ran out, after the test's beginning."),
            "decided": Clause(Moment(), "When it was decided: lateness later."),
            "payload": Clause(Anything(), "What of the payload is looked at."),
            "contact": Clause(Anything(), "What of the contact is looked at."),
        }
    )
    change = Record(
        {
            "segment": Clause(segment, "Default: the file's or test's segment."),
            "change": Clause(Choice(CHANGES, "a change"), "Default: entered."),
            "reason": Clause(Text(), "event, time, tie or merged."),
            "who": who,
            "at": Clause(Moment(), "When, after the test's beginning."),
        }
    )
    one = {
        "rule": Clause(
            rule, "Only its decisions are looked at; it is on, whatever the topology says. Default: all that are on."
        ),
        "segment": Clause(
            segment, "Only its changes are looked at; it is on, whatever the topology says. Default: all that are on."
        ),
        "begins": Clause(Time(), "The moment 0. Default: 2026-01-05T09:00:00Z, a Monday."),
    }
    test = Record(
        {
            "name": Clause(Text(), "What it shows.", required=True),
            **one,
            "events": Clause(Many(event), "What happens, in the order in which it is received.", required=True),
            "until": Clause(
                Moment(), "How far time goes on after the last event, for conditions. Default: not at all."
            ),
            "decisions": Clause(Many(decision), "All that is decided: [] where nothing is."),
            "changes": Clause(Many(change), "All that segments change: [] where nothing does."),
        }
    )
    return Record({**one, "tests": Clause(Many(test, least=1), "The tests.", required=True)})


class _File:
    """One file, read; what doesn't fit together is reported to `reader`."""

    def __init__(self, reader: Reader, topology: Topology, values: dict[str, Any]) -> None:
        self._reader = reader
        self._namespaces = [namespace.name for namespace in topology.identifiers.namespaces]
        self._values = values
        registry = connect("mock://rule-tests")
        self._encoder, self._decoder = Encoder(registry), Decoder(registry)

    def tests(self) -> list[RuleTest]:
        return [self._test(("tests", index), value) for index, value in enumerate(self._values.get("tests", ()))]

    def _test(self, at: Place, value: dict[str, Any]) -> RuleTest:
        rule = value.get("rule") or self._values.get("rule")
        segment = value.get("segment") or self._values.get("segment")
        begins = value.get("begins", self._values.get("begins", BEGINS))
        events = [
            self._event((*at, "events", index), begins, index, event)
            for index, event in enumerate(value.get("events", ()))
        ]
        expected = changes = None
        if "decisions" in value:
            expected = tuple(
                self._expected((*at, "decisions", index), rule, each) for index, each in enumerate(value["decisions"])
            )
        if "changes" in value:
            changes = tuple(
                self._change((*at, "changes", index), segment, each) for index, each in enumerate(value["changes"])
            )
        if not self._reader.has((*at, "decisions")) and not self._reader.has((*at, "changes")):
            message, hint = "it says nothing of what shall come of it", "write decisions: [...], or changes: [...]"
            self._reader.report(at, "missing-key", message, hint)
        named = [rule, segment, *(each.rule for each in expected or ()), *(each.segment for each in changes or ())]
        return RuleTest(
            file=self._reader.file,
            line=self._reader.line(at),
            name=value.get("name", ""),
            begins=begins,
            rules=(rule,) if rule else None,
            segments=(segment,) if segment else None,
            events=tuple(sorted(events, key=lambda event: event.received_at)),
            expected=expected,
            changes=changes,
            on=frozenset(filter(None, named)),
            until=begins + value["until"] if "until" in value else None,
        )

    def _event(self, at: Place, begins: int, index: int, value: dict[str, Any]) -> Event:
        kind = value.get("event", "")
        known = bodies().get(kind, {})
        body = {field: each for field, each in value.items() if field not in _OWN}
        for field, each in body.items():
            if kind and field not in known:
                hint = suggest(field, known, "its fields")
                self._reader.report((*at, field), "unknown-field", f"{kind} has no field {field}", hint, key=True)
            elif kind and (why := _misfit(known[field], each)):
                self._reader.report((*at, field), "wrong-type", f"{field} of {kind} is {why}")
        occurred = value.get("at", 0)
        received = value.get("received", occurred)
        if received < occurred:
            message = "it was received before it occurred"
            self._reader.report((*at, "received"), "bad-value", message, "a later time, or none")
        around = value.get("context") or {}
        if not isinstance(around, dict):
            self._reader.report((*at, "context"), "wrong-type", "a context is a mapping: {locale: de-AT}")
            around = {}
        self._context((*at, "context"), around)
        identifiers = self._who((*at, "who"), value.get("who"), needed=True)
        if not self._reader.findings:
            body = {field: texts(each) if known[field].kind == "map" else each for field, each in body.items()}
            around = {
                name: texts(each) if name != CONSENT and context()[name].kind == "map" else each
                for name, each in around.items()
            }
        event = Event(kind, f"e{index + 1}", begins + occurred, begins + received, identifiers, body, around)
        if self._reader.findings:  # enough to do
            return event
        try:  # it counts as what a producer would have sent
            return self._decoder.decode(self._encoder.encode("rule-tests", event))
        except InvalidEvent as error:
            self._reader.report(at, error.reason, str(error.detail))
            return event

    def _context(self, at: Place, told: dict[str, Any]) -> None:
        known = {**context(), CONSENT: Field("map")}
        for name, each in told.items():
            if name not in known:
                hint = suggest(name, known, "its fields")
                self._reader.report((*at, name), "unknown-field", f"a context has no field {name}", hint, key=True)
            elif name == CONSENT and not _all(each, bool):
                message = "consent is a mapping of true and false"
                self._reader.report((*at, name), "wrong-type", message, "write {marketing: true}")
            elif name != CONSENT and (why := _misfit(known[name], each)):
                self._reader.report((*at, name), "wrong-type", f"{name} of the context is {why}")

    def _who(self, at: Place, value: Any, needed: bool = False) -> dict[str, str]:
        """Who is called by a name alone has it as their strongest identifier."""
        if isinstance(value, str) and value:
            return {self._namespaces[0]: value}
        if not isinstance(value, dict) or not value or not _all(value, str):
            if needed or value is not None:
                message = "expected a name, or identifiers by namespace"
                self._reader.report(at, "wrong-type", message, "write ann, or {anonymous_id: tablet}")
            return {}
        for namespace in value:
            if namespace not in self._namespaces:
                hint = suggest(namespace, self._namespaces, "namespaces")
                self._reader.report(
                    (*at, namespace), "unknown-namespace", f"unknown namespace {namespace}", hint, key=True
                )
        return value

    def _expected(self, at: Place, rule: str | None, value: dict[str, Any]) -> Expected:
        for name in ("payload", "contact"):
            if not isinstance(value.get(name, {}), dict):
                self._reader.report((*at, name), "wrong-type", f"a {name} is a mapping")
        if value.get("rule") and rule and value["rule"] != rule:
            message = f"only decisions of {rule} are looked at here"
            self._reader.report((*at, "rule"), "conflict", message, "remove the one or the other rule", key=True)
        key = value.get("key")
        return Expected(
            line=self._reader.line(at),
            outcome=value.get("outcome", "fired"),
            rule=value.get("rule") or rule,
            reason=value.get("reason"),
            who=self._who((*at, "who"), value.get("who")),
            key=None if key is None else str(key),
            stage=value.get("stage"),
            due=value.get("due"),
            decided=value.get("decided"),
            payload=value.get("payload", {}),
            contact=value.get("contact", {}),
        )

    def _change(self, at: Place, segment: str | None, value: dict[str, Any]) -> Change:
        if value.get("segment") and segment and value["segment"] != segment:
            message = f"only changes of {segment} are looked at here"
            self._reader.report((*at, "segment"), "conflict", message, "remove the one or the other", key=True)
        return Change(
            line=self._reader.line(at),
            change=value.get("change", "entered"),
            segment=value.get("segment") or segment,
            reason=value.get("reason"),
            who=self._who((*at, "who"), value.get("who")),
            at=value.get("at"),
        )


def _all(value: Any, kind: type) -> bool:
    """Whether it is a mapping of such values alone."""
    return isinstance(value, dict) and all(isinstance(each, kind) for each in value.values())


def _misfit(field: Field, value: Any) -> str:
    """What such a field is, where the value is something else; else nothing."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match field.kind:
        case "text" | "any":
            return "" if isinstance(value, str) else f'a text: quote it, "{value}"'
        case "number":
            return "" if number else "a number"
        case "flag":
            return "" if isinstance(value, bool) else "true or false"
        case "choice":
            return "" if value in field.choices else f"one of {', '.join(field.choices)}"
        case "list":
            return "" if isinstance(value, list) and all(isinstance(each, str) for each in value) else "a list of texts"
        case "map":
            return "" if isinstance(value, dict) else "a mapping: {name: value}"
        case "records":
            return (
                ""
                if isinstance(value, list) and all(isinstance(each, Mapping) for each in value)
                else "a list of mappings"
            )

"""`list`: what a person answered last, of the answers that are named under `lists`: `{list: attends, is: attend}`.

lists:
  attends: {event: email_clicked, value: link_id, of: [attend, decline]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.grammar.durations import lasting
from pipeline.grammar.findings import suggest
from pipeline.grammar.reader import Path
from pipeline.grammar.shapes import Choice, Clause, Duration, EventPath, Many, Record, Text, Value, Where
from pipeline.language.condition import Condition, Names, OfOne, Scope
from pipeline.language.events import EVENTS
from pipeline.language.memory import Entry, Matcher, Moment
from pipeline.language.references import KEY as WAITS_KEY

KEY = "list"
MESSAGE = "message_id"
LIST = Record(
    {
        "description": Clause(Text(), "What it is for, in words."),
        "event": Clause(EVENTS, "Event type, a list of them, or `any`: what tells an answer.", required=True),
        "where": Clause(Where(), "Conditions on the event's fields; all must hold."),
        "value": Clause(EventPath(), "The field that holds the answer.", required=True),
        "of": Clause(
            Many(Value(flags=True), least=1), "The answers. What holds none of them is no answer.", required=True
        ),
    }
)


def record(key: str) -> Record:
    """What may be written."""
    return Record(
        {
            "list": Clause(Text(), "A list's name.", required=True),
            "is": Clause(
                Many(Value(flags=True), single=True, least=1),
                "The latest answer is this, or one of these.",
                required=True,
            ),
            "of_message": Clause(Choice((WAITS_KEY,), "a message"), "`key`: only answers to the message of the wait."),
            "since": Clause(Choice(("start",), "a moment"), "`start`: only since the rule's wait began."),
            "within": Clause(Duration(), "How far back it is looked. Default: for ever."),
        }
    )


def check(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """It is there, has such answers, and there is a wait where one is spoken of."""
    reader, name = names.reader, value.get("list")
    told = {} if name is None else names.lists.get(name, {})
    if name is not None and name not in names.lists:
        hint = suggest(name, names.lists, "lists") or "write it under lists"
        reader.report((*at, "list"), "unknown-list", f"{name} is no list", hint)
    if answers := told.get("of"):
        for index, answer in enumerate(value.get("is", ())):
            if answer not in answers:
                hint = suggest(str(answer), map(str, answers), "its answers")
                reader.report((*at, "is", index), "unknown-answer", f"{answer} is no answer of {name}", hint)
    if "of_message" in value:
        if names.per is None:
            reader.report((*at, "of_message"), "no-wait", "nothing here has a key",
                          "`of_message: key` stands in a rule with per: message_id", key=True)  # fmt: skip
        names.path((*at, "of_message"), MESSAGE, told.get("event", ()), "")
    if "since" in value and not names.waits:
        reader.report((*at, "since"), "no-wait", "nothing waits here that could have started",
                      "`since: start` stands in only_if and until", key=True)  # fmt: skip


def check_list(at: Path, value: Mapping[str, Any], names: Names) -> None:
    """What is written under `lists`."""
    events, path, where = value.get("event", ()), value.get("value"), value.get("where", {})
    names.where((*at, "where"), where, events)
    if path is None:
        return
    if path in where:
        message = f"{path} is asked twice: `of` names its values"
        names.reader.report((*at, "where", path), "conflict", message, "remove it here", key=True)
    before = len(names.reader.findings)
    names.path((*at, "value"), path, events, "")
    if len(names.reader.findings) == before and "of" in value:
        names.where((*at, "of"), {path: {"in": value["of"]}}, events)


def compile(value: Mapping[str, Any], scope: Scope) -> Condition:
    """What it means."""
    told, within = scope.lists[value["list"]], value.get("within")
    matcher = Matcher(
        tuple(told["event"]),
        {**told.get("where", {}), told["value"]: {"in": told["of"]}},
        has={told["value"]: {"in": value["is"]}},
        per=MESSAGE if "of_message" in value else None,
        within=within,
    )
    return Listed(f"{value['list']} is {' or '.join(map(str, value['is']))}", matcher, within, "since" in value)


class Listed(OfOne):
    """Whether the latest answer is one of these. `said`: in words."""

    def __init__(self, said: str, matcher: Matcher, within: int | None, since_start: bool) -> None:
        self._said, self._matcher, self._within, self._since_start = said, matcher, within, since_start

    def _latest(self, now: Moment) -> Entry | None:
        found = now.of(self._matcher, now.since(self._within, start=self._since_start))
        return found[-1] if found else None

    def holds(self, now: Moment) -> bool:
        """Of the latest answer."""
        latest = self._latest(now)
        return latest is not None and bool(latest.value)

    def turns(self, now: Moment) -> int | None:
        """When the latest answer has left the window: all others have by then."""
        latest = self._latest(now)
        return latest.occurred_at + self._within if self._within is not None and latest and latest.value else None

    def fails(self, now: Moment) -> str:
        """What was answered instead."""
        latest = self._latest(now)
        if latest is None:
            return f"{self}, and there was no answer"
        return "" if latest.value else f"{self}, and the latest answer was another"

    def __str__(self) -> str:
        return f"{self._said}{lasting(self._within)}"

"""`list`: the latest of several answers, as a condition. Times are minutes; lateness is 5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.topology import lint
from tests.oracle.build import Event, click, login, send
from tests.oracle.language.build import MS, change, rules, want
from tests.oracle.language.compare import changes_differing, differing
from tests.oracle.language.oracle import decisions
from tests.property.test_language import SHIPPED, topology_of
from tests.replayed import replayed_with_changes

Told = dict[str, Any]
Line = dict[str, Any]
LISTS = {"attends": {"event": "email_clicked", "value": "link_id", "of": ["attend", "decline"]}}
ATTENDS = {"list": "attends", "is": "attend"}


def answer(id_: str, at: float, link: str = "attend", got: float | None = None, *, message: str = "m") -> Event:
    """A click."""
    return click(id_, at, got, who="a:phone", link_id=link, message=message)


def leads(
    folder: Path,
    told: Told,
    events: list[Event],
    *,
    made: list[Line] | None = None,
    changes: list[Line] | None = None,
) -> None:
    """The rules and segments do, and the oracle says, what was worked out by hand."""
    told = {**told, "lists": told.get("lists", LISTS)}
    for found in (decisions(told, events), replayed_with_changes(events, topology_of(told, folder))):
        assert differing(made or [], found[0]) == ""
        assert changes_differing(changes or [], found[1]) == ""


def test_the_latest_answer_counts(tmp_path: Path) -> None:
    events = [
        answer("1", 0, "decline"),
        answer("2", 10),
        answer("3", 20, "imprint"),  # no answer: it takes none back
        answer("4", 30),
        answer("5", 40, "decline"),
    ]
    leads(tmp_path, rules({"s": ATTENDS}), events, changes=[change("entered", 10, "2"), change("left", 40, "5")])


def test_of_no_answer_nothing_holds(tmp_path: Path) -> None:
    events = [login("1", 0, who="a:phone"), answer("2", 10, "imprint")]
    told = rules({"s": {"any": [ATTENDS, {"list": "attends", "is": "decline"}]}})
    leads(tmp_path, told, events)


def test_one_of_several(tmp_path: Path) -> None:
    told = rules({"s": {"list": "attends", "is": ["attend", "decline"]}})
    leads(tmp_path, told, [answer("1", 0, "decline"), answer("2", 9)], changes=[change("entered", 0, "1")])


def test_latest_is_by_occurrence(tmp_path: Path) -> None:
    events = [
        answer("1", 10),
        answer("2", 5, "decline", 20),  # told late, and said before
        answer("3", 15, "decline", 30),
    ]
    leads(tmp_path, rules({"s": ATTENDS}), events, changes=[change("entered", 10, "1"), change("left", 30, "3")])


def test_only_what_it_asks_for_answers(tmp_path: Path) -> None:
    told = rules({"s": ATTENDS})
    told["lists"] = {"attends": {**LISTS["attends"], "where": {"message_id": "n"}}}
    events = [answer("1", 0), answer("2", 10, message="n"), answer("3", 20, "decline")]
    leads(tmp_path, told, events, changes=[change("entered", 10, "2")])


def test_in_a_window(tmp_path: Path) -> None:
    events = [answer("1", 0), answer("2", 30), answer("3", 300, "imprint")]
    told = rules({"s": {**ATTENDS, "within": "1h"}})
    leads(tmp_path, told, events, changes=[change("entered", 0, "1"), change("left", 90)])


def test_what_leaves_a_window_brings_no_older_one_back(tmp_path: Path) -> None:
    events = [answer("1", 0), answer("2", 30, "decline"), answer("3", 300, "imprint")]
    told = rules({"s": {**ATTENDS, "within": "1h"}})
    leads(tmp_path, told, events, changes=[change("entered", 0, "1"), change("left", 30, "2")])


def test_of_a_message(tmp_path: Path) -> None:
    asked = {**ATTENDS, "of_message": "key"}
    told = rules(r={"per": "message_id", "start": {"event": "email_sent"}, "after": "1h", "only_if": asked})
    events = [
        send("1", 0, who="a:phone", message="m"),
        send("2", 1, who="a:phone", message="n"),
        answer("3", 10, message="m"),
        answer("4", 20, "decline", message="n"),
    ]
    made = [
        want("fired", "due", "1", 0, 60, 65, key="m"),
        want("suppressed", "only_if", "2", 1, 61, 66, key="n"),
    ]
    leads(tmp_path, told, events, made=made)


def test_a_rule_starts_when_its_message_is_answered_so(tmp_path: Path) -> None:
    asked = {**ATTENDS, "of_message": "key", "within": "1d"}
    told = rules(r={"per": "message_id", "start": {"when": asked}, "after": "1h"})
    events = [
        send("1", 0, who="a:phone"),
        answer("2", 10, "decline", message="m"),
        answer("3", 20, message="n"),
        answer("4", 30, message="m"),
    ]
    made = [want("fired", "due", "3", 20, 80, 85, key="n"), want("fired", "due", "4", 30, 90, 95, key="m")]
    leads(tmp_path, told, events, made=made)


def test_with_keys_it_is_the_person_s_unless_the_message_is_asked_for(tmp_path: Path) -> None:
    told = rules(r={"per": "message_id", "start": {"event": "email_sent"}, "after": "1h", "only_if": ATTENDS})
    events = [send("1", 0, who="a:phone"), answer("2", 10), answer("3", 20, "decline", message="n")]
    leads(tmp_path, told, events, made=[want("suppressed", "only_if", "1", 0, 60, 65, key="m")])


@pytest.mark.parametrize(("at", "outcome", "reason"), [(10, "fired", "due"), (10 - MS, "suppressed", "only_if")])
def test_since_the_start(tmp_path: Path, at: float, outcome: str, reason: str) -> None:
    asked = {**ATTENDS, "since": "start"}
    told = rules(r={"start": {"event": "email_sent"}, "after": "1h", "only_if": asked})
    events = [answer("1", at), send("2", 10, who="a:phone")]
    leads(tmp_path, told, events, made=[want(outcome, reason, "2", 10, 70, 75)])


def test_known_at_the_decision_up_to_when_it_is_due(tmp_path: Path) -> None:
    told = rules(r={"start": {"event": "email_sent"}, "after": "1h", "only_if": ATTENDS})
    events = [
        send("1", 0, who="a:phone"),
        answer("2", 10, "decline"),
        answer("3", 59, got=64),  # late, and in time
        answer("4", 61, "decline"),  # after it was due
    ]
    leads(tmp_path, told, events, made=[want("fired", "due", "1", 0, 60, 65)])


def found_in(folder: Path, when: Told, lists: Told = LISTS, **rule: Any) -> list[str]:
    """What lint says of a segment or, where more is told of one, a rule that asks for this."""
    whole = yaml.safe_load(SHIPPED.read_text())
    del whole["include"]
    whole |= {"lists": lists, "segments": {} if rule else {"s": {"when": when}}}
    whole["triggers"] = {"r": {"version": 1, "after": "1h", "only_if": when, **rule}} if rule else {}
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return [f"{each.code}: {each.message} ({each.hint})" for each in lint(path, {})]


def test_a_list_that_nobody_uses_is_fine(tmp_path: Path) -> None:
    assert found_in(tmp_path, {"did": "searched", "within": "1d"}) == []


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"list": "atends", "is": "attend"}, "unknown-list: atends is no list (did you mean attends?)"),
        ({"list": "attends", "is": "atend"}, "unknown-answer: atend is no answer of attends (did you mean attend?)"),
        (
            {"list": "attends", "is": ["attend", "zzz"]},
            "unknown-answer: zzz is no answer of attends (its answers: attend, decline)",
        ),
        (
            {**ATTENDS, "of_message": "key"},
            "no-wait: nothing here has a key (`of_message: key` stands in a rule with per: message_id)",
        ),
        (
            {**ATTENDS, "since": "start"},
            "no-wait: nothing waits here that could have started (`since: start` stands in only_if and until)",
        ),
    ],
)
def test_what_a_condition_can_t_ask(tmp_path: Path, when: Told, said: str) -> None:
    assert found_in(tmp_path, when) == [said]


def test_a_message_is_asked_for_where_answers_name_one(tmp_path: Path) -> None:
    lists = {"attends": {"event": "form_submitted", "value": "form_id", "of": ["attend"]}}
    start = {"event": "email_sent"}
    (found,) = found_in(tmp_path, {**ATTENDS, "of_message": "key"}, lists, per="message_id", start=start)
    assert found.startswith("unknown-field: form_submitted has no field message_id")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"value": "link"}, "unknown-field: email_clicked has no field link (did you mean link_id?)"),
        ({"of": ["attend", 3]}, 'bad-condition: link_id is a text, 3 is a number (quote it: "3")'),
        ({"where": {"link_id": "attend"}}, "conflict: link_id is asked twice: `of` names its values (remove it here)"),
        ({"where": {"campain": "x"}}, "unknown-field: email_clicked has no field campain (did you mean campaign?)"),
    ],
)
def test_what_a_list_can_t_be(tmp_path: Path, told: Told, said: str) -> None:
    assert found_in(tmp_path, ATTENDS, {"attends": {**LISTS["attends"], **told}}) == [said]

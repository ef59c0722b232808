"""The audit of what we pin: what it says of which answers of an index."""

from __future__ import annotations

from typing import Any
from urllib.error import URLError

import pytest

from tests import audit
from tests.audit import RUNS, Finding, Page, Pin, look, pins, told

PIN = Pin("box", "1.2", RUNS)
BAD = {"id": "PYSEC-1", "aliases": ["CVE-1"], "summary": "It opens by itself.", "fixed_in": ["1.3"], "withdrawn": None}
FINE = {"yanked": False, "yanked_reason": None}
BACK = {"yanked": True, "yanked_reason": "it is empty"}


def index(**pages: dict[str, Any]) -> audit.Ask:
    return lambda path: pages.get(path.replace("/", "_").replace(".", "_"))


def project(version: str, advisories: list[dict[str, Any]], **releases: list[dict[str, Any]]) -> dict[str, Any]:
    found = {name.strip("v").replace("_", "."): files for name, files in releases.items()}
    return {"info": {"version": version}, "vulnerabilities": advisories, "releases": found}


@pytest.mark.parametrize(
    ("ask", "known", "against"),
    [
        (index(box_1_2={"vulnerabilities": [], "urls": [FINE]}), True, []),
        (
            index(box_1_2={"vulnerabilities": [BAD], "urls": [BACK]}),
            True,
            ["PYSEC-1: It opens by itself. (mended in 1.3)", "taken back by its makers: it is empty"],
        ),
        (index(box_1_2={"vulnerabilities": [{**BAD, "withdrawn": "2026"}], "urls": [FINE, BACK]}), True, []),
        (index(box=project("1.2", [BAD], v1_2=[FINE])), True, ["PYSEC-1: It opens by itself. (mended in 1.3)"]),
        (index(box=project("1.3", [BAD], v1_2=[FINE])), False, []),
        (index(box=project("1.3", [], v1_2=[BACK])), False, ["taken back by its makers: it is empty"]),
        (index(), False, []),
    ],
)
def test_what_an_index_says(ask: audit.Ask, known: bool, against: list[str]) -> None:
    assert look(PIN, ask) == Finding(PIN, known, against)


def test_an_index_that_does_not_answer_is_no_advisory() -> None:
    def silent(path: str) -> Page:
        raise URLError("no route")

    assert look(PIN, silent) == Finding(PIN, False, [])


def test_what_was_accepted_is_told_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-1": "nobody opens it"})
    assert look(PIN, index(box_1_2={"vulnerabilities": [BAD], "urls": [FINE]})).against == []


def test_only_what_runs_fails() -> None:
    tests_only = Pin("rod", "1", "requirements-dev.lock")
    assert told([Finding(tests_only, True, ["bad"]), Finding(PIN, False, [])]) == (
        [
            "requirements-dev.lock: rod 1: bad",
            "1 of 2 pinned packages: advisories are known",
            "not known, as the index has no page of that version: box 1.2",
        ],
        0,
    )
    assert told([Finding(PIN, True, ["bad"])])[1] == 1


def test_all_that_is_pinned_is_asked_for() -> None:
    found = {pin.name: pin.lock for pin in pins()}
    assert len(found) > 100
    assert (found["aiokafka"], found["pytest"], found["posthog"]) == (RUNS, *audit.LOCKS[1:])

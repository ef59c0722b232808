"""What the linter says of waits: place, code, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.topology import lint

BASE = yaml.safe_load((Path(__file__).parents[2] / "topology.yaml").read_text(encoding="utf-8"))
RULE = """\
    version: 1
    per: cart_id
    start: {event: product_added}
    cancel:
      - {event: order_completed, match: cart_id, reason: bought}
      - {event: cart_cleared, match: cart_id, reason: cleared}
"""
BELOW = "    "


def findings(folder: Path, lines: str) -> list[tuple[int, int, str, str]]:
    """Of a rule with these lines below the others: line within them, column, code, and what is said."""
    base = yaml.safe_dump({name: value for name, value in BASE.items() if name != "triggers"})
    head = f"{base}triggers:\n  cart:\n{RULE}"
    path = folder / "t.yaml"
    path.write_text(head + "".join(f"{BELOW}{line}\n" for line in lines.splitlines()), encoding="utf-8")
    above = head.count("\n")
    return [(each.line - above, each.column, each.code, f"{each.message} ({each.hint})") for each in lint(path, {})]


FINE = [
    'after: {for: 1h, until: {time: "09:00"}}',
    'after: {for: 1h, until: {time: "23:59", days: fri}}',
    "after: {field: quantity, unit: days}",
    "after: {field: products.quantity, unit: hours}",
    "after: {field: cart_id, unit: hours}",
    "after: 1h\nagain: always",
    "after: 1h\nagain: never",
    "after: 1h\nagain: {after: 7d}",
    "after: 1h\nrecovered: {within: 5d}",
    "after: 1h\nrecovered: {within: 5d, by: [bought, cleared]}",
    "after: 1h",
    "again: {after: 1h}",
    "decide: on_arrival",
    "decide: on_arrival\nrecovered: {within: 5d}\nuntil: {when: {did: searched}, reason: looked}",
    "stages: [{name: first, after: 1h}]",
    "stages:\n  - {name: first, after: 1h, payload: []}\n  - {name: last, after: 1d, payload: [cart]}\npayload: [cart]",
]


@pytest.mark.parametrize("lines", FINE)
def test_what_is_fine(tmp_path: Path, lines: str) -> None:
    assert findings(tmp_path, lines) == []


# The rule's last lines; then line among them, column, code, and a part of what is said.
WRONG = [
    ("decide: on_arival", 1, 13, "bad-value", "did you mean on_arrival?"),
    ("decide: on_arrival\nafter: 1h", 1, 5, "conflict", "but after says that it waits (remove decide, or after)"),
    ("stages: [{name: a, after: 1h}]\ndecide: on_arrival", 2, 5, "conflict", "but stages says that it waits"),
    (
        "restart: {event: cart_viewed}",
        1,
        5,
        "conflict",
        "there is nothing to move (write after: 1h, or remove restart)",
    ),
    ("payload: [cart]", 1, 5, "conflict", "no cart's contents: each of its starts is by itself (write after: 1ms"),
    ("payload: {what: cart}", 1, 5, "conflict", "tells no cart's contents"),
    ("until: {cart: empty, reason: emptied}", 1, 13, "conflict", "waits for no cart to be empty"),
    ("after: {}", 1, 5, "missing-key", "field or for is missing"),
    ("after: soon", 1, 12, "bad-duration", "'soon' isn't a duration"),
    ("after: {field: quantity}", 1, 5, "missing-key", "unit: seconds, minutes, hours, days, weeks"),
    ("after: {field: quantity, unit: day}", 1, 36, "bad-value", "did you mean days?"),
    ("after: {field: quantty, unit: days}", 1, 20, "unknown-field", "did you mean quantity?"),
    ("after: {field: products, unit: days}", 1, 20, "bad-field", "it is no number"),
    ("after: {for: 1h}", 1, 5, "missing-key", 'write until: {time: "09:00"}, or after: 1h'),
    ("after: {for: 1h, unit: days, until: {time: '09:00'}}", 1, 22, "conflict", "unit has a place only beside field"),
    ("after: {for: 1h, until: {time: 10:00}}", 1, 36, "wrong-type", 'quote it: "10:00"'),
    ("after: {for: 1h, until: {time: '24:00'}}", 1, 36, "bad-value", "a time of day in quotes"),
    ("after: {for: 1h, until: {time: '10:00', days: [mon, so]}}", 1, 57, "bad-value", "a day of the week"),
    ("after: {for: 80d, until: {time: '10:00'}}", 1, 12, "short-profile", "must be at least 91d"),
    ("after: 1h\nagain: nver", 2, 12, "bad-value", "did you mean never?"),
    ("after: 1h\nagain: true", 2, 12, "wrong-type", "always, never, or {after: 7d}"),
    ("after: 1h\nagain: {}", 2, 5, "missing-key", "after is missing"),
    ("after: 1h\nagain: {after: 7}", 2, 20, "bad-duration", "write a number and a unit"),
    ("after: 1h\nagain: {after: 87d}", 2, 20, "short-profile", "must be at least"),
    ("after: 1h\nonce: true\nagain: never", 3, 5, "conflict", "a key that starts once never starts again"),
    ("after: 1h\nrecovered: {by: bought}", 2, 5, "missing-key", "within is missing"),
    ("after: 1h\nrecovered: {within: 5d, by: brought}", 2, 33, "unknown-reason", "did you mean bought?"),
    ("after: 1h\nrecovered: {within: 5d, by: [bought, due]}", 2, 42, "unknown-reason", "bought, cleared"),
    ("after: 1h\nrecovered: {within: 87d}", 2, 25, "short-profile", "must be at least"),
    ("stages: []", 1, 13, "bad-value", "triggers.cart.stages is an empty list"),
    ("after: 1h\nstages: [{name: a, after: 1h}]", 2, 5, "conflict", "after and stages can't stand together"),
    ("stages: [{name: a, after: 1h}, {name: a, after: 2h}]", 1, 43, "duplicate-value", "a is there twice"),
    (
        "stages: [{name: a, after: 2h}, {name: b, after: 1h}]",
        1,
        53,
        "bad-time",
        "the stage b isn't later than a, which comes before it",
    ),
    ("stages: [{name: a, after: 1h}, {name: b, after: 1h}]", 1, 53, "bad-time", "from the shortest to the longest"),
    ("stages: [{name: a}]", 1, 14, "missing-key", "after is missing"),
    ("stages: [{after: 1h}]", 1, 14, "missing-key", "name is missing"),
    ("stages: [{name: a, after: 1h, payload: [cart, cart]}]", 1, 51, "duplicate-value", "cart is there twice"),
    ("stages: [{name: a, after: 1h, payload: [film]}]", 1, 45, "bad-key", "the payload tells of a film: which one?"),
    ("stages: [{name: a, after: 1h, onlyif: 1}]", 1, 35, "unknown-key", "did you mean only_if?"),
    (
        "stages: [{name: a, after: 1h, only_if: {did: product_add}}]",
        1,
        50,
        "unknown-event",
        "did you mean product_added?",
    ),
    ("stages: [{name: a, after: 1h}, {name: b, after: 90d}]", 1, 53, "short-profile", "must be at least 93d"),
    (
        "stages: [{name: a, after: 1h, payload: [cart]}]\nonce: true",
        1,
        35,
        "conflict",
        "a key that starts once has no cart",
    ),
    ("after: 1h\nuntil: {cart: empty, reason: begun_anew}", 2, 34, "reserved-reason", "the pipeline's own"),
]


@pytest.mark.parametrize(("lines", "line", "column", "code", "said"), WRONG, ids=[case[0] for case in WRONG])
def test_one_mistake(tmp_path: Path, lines: str, line: int, column: int, code: str, said: str) -> None:
    found = findings(tmp_path, lines)
    assert [each[:3] for each in found] == [(line, column, code)], found
    assert said in found[0][3]


def test_a_zone_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    for zone, said in (("Europe/Viena", "did you mean europe/vienna?"), ("home", "write a name such as Europe/Vienna")):
        path.write_text(yaml.safe_dump({**BASE, "time": {"zone": zone}}), encoding="utf-8")
        (found,) = lint(path, {})
        assert (found.code, said in found.hint) == ("unknown-zone", True), found
    path.write_text(yaml.safe_dump({**BASE, "time": {"zone": "Europe/Vienna"}}), encoding="utf-8")
    assert lint(path, {}) == []


def test_a_start_by_a_condition_tells_no_length(tmp_path: Path) -> None:
    rule = {
        "version": 1,
        "start": {"when": {"did": "product_added", "times": 2, "within": "1d"}},
        "after": {"field": "quantity", "unit": "days"},
    }
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump({**BASE, "triggers": {"rule": rule}}), encoding="utf-8")
    (found,) = lint(path, {})
    assert (found.code, found.message) == ("conflict", "a start by a condition tells no field")

"""How the changes of segments differ from those that were expected."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pipeline.rule_tests.pairing import unpaired
from pipeline.rule_tests.reading import Change, RuleTest
from pipeline.rule_tests.spans import maybe_span, span
from pipeline.triggers.changes import SegmentChange


def change_differences(
    test: RuleTest, wanted: tuple[Change, ...], changes: list[SegmentChange]
) -> Iterator[tuple[int, str]]:
    """(line of the test's file, a sentence) each."""
    missing, left = unpaired(wanted, changes, partial(_misses, test))
    for expected in missing:
        like = next((each for each in left if _alike(expected, each)), None)
        if like is None:
            yield expected.line, f"expected {_wanted(expected)}; that didn't happen"
            continue
        left.remove(like)
        yield expected.line, f"expected {_wanted(expected)}; but {', '.join(_misses(test, expected, like))}"
    for each in left:
        yield test.line, f"not expected: {told_change(each)}, at {span(each.at - test.begins)}"


def told_change(change: SegmentChange) -> str:
    """`ann entered vip (event, e3)`."""
    who = " ".join(values[0] for values in change.identifiers.values())
    cause = f", {change.cause_event_id}" if change.cause_event_id else ""
    return f"{who} {change.change} {change.segment} ({change.reason}{cause})"


def _alike(expected: Change, change: SegmentChange) -> bool:
    return expected.segment in (None, change.segment) and expected.change == change.change


def _misses(test: RuleTest, expected: Change, change: SegmentChange) -> list[str]:
    pairs = [
        ("segment", change.segment, expected.segment),
        ("change", change.change, expected.change),
        ("reason", change.reason, expected.reason),
        ("at", span(change.at - test.begins), maybe_span(expected.at)),
    ]
    out = [f"{name} is {told}, not {wanted}" for name, told, wanted in pairs if wanted is not None and told != wanted]
    for namespace, value in expected.who.items():
        values = change.identifiers.get(namespace, [])
        if value not in values:
            out.append(f"{namespace} is {', '.join(values) or 'not known'}, not {value}")
    return out


def _wanted(expected: Change) -> str:
    who = " ".join(expected.who.values()) or "somebody"
    at = "" if expected.at is None else f" at {span(expected.at)}"
    return f"{who} {expected.change} {expected.segment or 'a segment'}{at}"

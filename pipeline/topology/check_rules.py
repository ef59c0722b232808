"""What must fit together inside of one trigger rule."""

from __future__ import annotations

from typing import Any

from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.vocabulary import Field, body_of, playback_types
from pipeline.language import paths
from pipeline.language.paths import keys_of
from pipeline.language.references import KEY, is_reference, split
from pipeline.topology import check_starts, emptied
from pipeline.topology.check_payload import check_payload, tells
from pipeline.topology.check_waits import check_waits
from pipeline.topology.check_where import check_where
from pipeline.topology.model import BROKEN

_OWN_REASONS = ("due", "overtaken", "begun_anew", BROKEN, "date_changed", "retracted")


def check_rule(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """Report what is wrong with the rule at `path`."""
    start, per = rule.get("start", {}), rule.get("per")
    start_events = list(playback_types()) if "watched_share" in start else start.get("event", [])
    start_events = start_events or check_starts.start_events(start)
    _selector((*path, "start"), start, reader)
    if "watched_share" in start:
        _watched(path, rule, reader)
    if per:
        if "sequence" not in start and "trait" not in start.get("date", ()):
            _key_field((*path, "per"), per, start_events, reader)
        restart = rule.get("restart", {}).get("event", [])
        _key_field((*path, "per"), per, restart, reader)
    elif "without_key" in rule:
        _no_effect(
            (*path, "without_key"), "without_key says what happens without the `per` field, but there is none", reader
        )
    _selector((*path, "restart"), rule.get("restart", {}), reader)
    _cancels(path, rule, start_events, reader)
    _once(path, rule, reader)
    _reason((*path, "until", "reason"), rule.get("until", {}).get("reason"), reader)
    _needs_keys(path, rule, reader)
    check_payload(path, rule, start_events, reader)
    check_waits(path, rule, reader)
    check_starts.check_starts(path, rule, reader)


def _watched(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    if (reader.has((*path, "per")) and rule.get("per") != "film") or not reader.has((*path, "per")):
        message = "a share is watched of a film"
        reader.report(
            (*path, "per") if reader.has((*path, "per")) else path, "bad-key", message, "write per: film", key=True
        )
    if reader.has((*path, "start", "where")):
        message = "where has no place beside watched_share: all playback counts"
        reader.report((*path, "start", "where"), "conflict", message, "remove it", key=True)


def _cancels(path: Path, rule: dict[str, Any], start_events: list[str], reader: Reader) -> None:
    cancels = rule.get("cancel", [])
    single = not reader.has((*path, "cancel", 0))
    for index, cancel in enumerate(cancels):
        at: Path = (*path, "cancel") if single else (*path, "cancel", index)
        _selector(at, cancel, reader, start_events)
        _reason((*at, "reason"), cancel.get("reason"), reader)
        match = cancel.get("match")
        if not reader.has((*path, "per")):
            _no_key(at, cancel, reader)
        elif isinstance(match, str):
            _key_field((*at, "match"), match, cancel.get("event", []), reader)
        if isinstance(match, dict):
            pairs = {name: {"is": reference} for name, reference in match.items()}
            check_where((*at, "match"), pairs, cancel.get("event", []), reader, start_events)
        if "without_key" in cancel and not _has_key(match) and reader.has((*at, "match")) == bool(match):
            _no_effect(
                (*at, "without_key"),
                "without_key says what happens without the `match` field, but there is none",
                reader,
            )
        if cancel.get("takes"):
            _takes((*at, "takes"), rule, cancel, reader)
        both = sorted(set(start_events) & set(cancel.get("event", [])))
        told_apart = (
            cancel.get("where") or rule.get("start", {}).get("where") or "watched_share" in rule.get("start", {})
        )
        if both and not told_apart:
            message = f"{both[0]} opens a wait and ends it too"
            reader.report((*at, "event"), "start-and-cancel", message, "tell them apart with where", severity="warning")


def _has_key(match: str | dict[str, str] | None) -> bool:
    return KEY in match.values() if isinstance(match, dict) else bool(match)


def _no_key(at: Path, cancel: dict[str, Any], reader: Reader) -> None:
    """Nothing can match a key where there is none."""
    match = cancel.get("match")
    named = [((*at, "match"), match)] if isinstance(match, str) else []
    if isinstance(match, dict):
        named += [((*at, "match", path), path) for path, reference in match.items() if reference == KEY]
    named += [
        ((*at, "where", path), path)
        for path, tests in cancel.get("where", {}).items()
        if any(is_reference(op, operand) and operand == KEY for op, operand in tests.items())
    ]
    for place, path in named:
        reader.report(place, "no-key", f"{path} can't match: the rule has no key", "write per: ...", key=True)


def _takes(at: Path, rule: dict[str, Any], cancel: dict[str, Any], reader: Reader) -> None:
    """Products are taken out of carts, by events that tell products."""
    if not emptied.ends(rule) and not tells(rule, "cart"):
        message = "products are taken out of carts, but the rule looks at none"
        reader.report(at, "no-effect", message, "write until: {cart: empty, ...} or payload: [cart]", key=True)
    match = cancel.get("match")
    named = [*match] if isinstance(match, dict) else [match] if match else []
    several = next((path for path in named if keys_of(path)), None)
    if several is not None:
        message = "products are taken out of all carts but the one that an event names by one field"
        reader.report(at, "conflict", f"{message}, and {several} is none", "remove takes", key=True)
    elif (isinstance(match, dict) and [*match.values()] != [KEY]) or split(cancel.get("where", {}))[1]:
        message = "products are taken out of all other carts, and not of those that compare"
        reader.report(at, "conflict", message, "remove takes, or what compares with the wait", key=True)
    for event in cancel.get("event", []):
        if "products" not in body_of(event):
            reader.report(at, "unknown-field", f"{event} has no products to take", "remove takes", key=True)


def _once(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    """A key that starts once keeps its start alone: it isn't moved, and has no cart. The past counts there alone."""
    if rule.get("once"):
        reason = "a key that starts once"
        if reader.has((*path, "restart")):
            reader.report(
                (*path, "restart"), "conflict", f"{reason} is never moved", "remove restart or once", key=True
            )
        if (rule.get("until") or {}).get("cart"):
            reader.report((*path, "until"), "conflict", f"{reason} has no cart", "remove until or once", key=True)
        for part in tells(rule, "cart"):
            reader.report((*path, *part), "conflict", f"{reason} has no cart", "remove it, or once", key=True)
    elif "once" in rule or not reader.has((*path, "once")):
        cancels = rule.get("cancel", [])
        for index, cancel in enumerate(cancels):
            at: Path = (*path, "cancel", index) if reader.has((*path, "cancel", 0)) else (*path, "cancel")
            if cancel.get("before_start"):
                message = "what happened before the start is looked at only where a key starts once"
                reader.report((*at, "before_start"), "conflict", message, "write once: true, or remove it", key=True)


def _needs_keys(path: Path, rule: dict[str, Any], reader: Reader) -> None:
    if rule.get("until", {}).get("cart") and rule.get("per") != "cart_id" and not _wrong_per(path, rule, reader):
        reader.report((*path, "until", "cart"), "bad-key", "a cart is empty: which one?", "write per: cart_id")


def _wrong_per(path: Path, rule: dict[str, Any], reader: Reader) -> bool:
    """`per` was written, but not understood: that has been reported and is enough."""
    return reader.has((*path, "per")) and not paths.known(rule.get("per", ""))


def _reason(path: Path, reason: str | None, reader: Reader) -> None:
    if reason in _OWN_REASONS:
        message = f"the reason {reason} is the pipeline's own"
        reader.report(path, "reserved-reason", message, "say what the person did, for instance bought")


def _no_effect(path: Path, message: str, reader: Reader) -> None:
    reader.report(path, "no-effect", message, "remove it", severity="warning", key=True)


def _key_field(path: Path, name: str, events: list[str], reader: Reader, *, key: bool = False) -> None:
    """What waits, or what tells them apart, must be a text, or several."""
    if not paths.known(name):
        events = events[:1]  # once is enough
    for event in events:
        held = paths.told(event, name)
        if held is None:
            hint = paths.meant(event, name, _is_key)
            reader.report(path, "unknown-field", f"{event} has no field {name}", hint, key=key)
        elif not _is_key(held):
            reader.report(path, "bad-key", f"{name} of {event} can't be a key: it isn't a text", key=key)


def _is_key(held: Field) -> bool:
    return held.kind in ("text", "choice", "list", "any")


def _selector(path: Path, selector: dict[str, Any], reader: Reader, starts: list[str] | None = None) -> None:
    """`starts`: the event types of the wait with which its conditions may compare."""
    for index, event in enumerate(selector.get("event", [])):
        if event in selector["event"][:index]:
            message = f"{event} is there twice"
            reader.report((*path, "event", index), "duplicate-value", message, severity="warning")
    check_where((*path, "where"), selector.get("where", {}), selector.get("event", []), reader, starts)

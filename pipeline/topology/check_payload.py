"""What a rule's payload may tell: parts, which need their key, and single values by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.grammar.reader import Path, Reader
from pipeline.grammar.vocabulary import PAYLOADS
from pipeline.language import paths
from pipeline.language.references import KEY, start_path


def told(rule: dict[str, Any]) -> list[tuple[Path, list[tuple[str | int, str]]]]:
    """Where it says what is told, of itself and of its stages; and what, under which name or number."""
    found: list[tuple[Path, list[tuple[str | int, str]]]] = [(("payload",), _entries(rule.get("payload", [])))]
    found += [
        (("stages", index, "payload"), _entries(stage.get("payload", [])))
        for index, stage in enumerate(rule.get("stages", ()))
    ]
    return found


def tells(rule: dict[str, Any], part: str) -> list[Path]:
    """Where it tells that part, or something of it."""
    return [where for where, entries in told(rule) if part in [_part_of(each) for _, each in entries]]


def _entries(payload: list[str] | dict[str, str]) -> list[tuple[str | int, str]]:
    return [*payload.items()] if isinstance(payload, dict) else [*enumerate(payload)]


def _part_of(source: str) -> str:
    """Of `cart.total`: cart."""
    return source.partition(".")[0]


def check_payload(path: Path, rule: dict[str, Any], starts: Sequence[str], reader: Reader) -> None:
    """Report what is wrong with the payloads of the rule at `path`. `starts`: the types of events that open a wait."""
    for where, entries in told(rule):
        several = [each for _, each in entries]
        for number, (name, each) in enumerate(entries):
            at = (*path, *where, name)
            if (part := _part_of(each)) in PAYLOADS:
                _part(at, part, rule.get("per"), reader)
                if isinstance(name, int) and each in several[:number]:
                    reader.report(at, "duplicate-value", f"{each} is there twice", severity="warning")
            elif each == KEY and not reader.has((*path, "per")):
                message = "the payload tells the key, but the rule has none"
                reader.report(at, "no-key", message, "write per: ..., or remove it")
            elif (of_start := start_path(each)) is not None:
                _of_start(at, of_start, starts, reader)


def _part(at: Path, part: str, per: str | None, reader: Reader) -> None:
    key = PAYLOADS[part]
    if per != key and (per is None or paths.known(per)):
        reader.report(at, "bad-key", f"the payload tells of a {part}: which one?", f"write per: {key}")


def _of_start(at: Path, path: str, starts: Sequence[str], reader: Reader) -> None:
    found = [held for event in starts if (held := paths.told(event, path)) is not None]
    if not found:
        hint = paths.meant(starts[0], path, lambda held: held.kind not in ("map", "records")) if starts else ""
        hint = hint.replace("did you mean ", "did you mean start.")
        reader.report(at, "unknown-field", paths.untold(path, starts), hint)
    elif found[0].kind in ("map", "records"):
        message = f"start.{path} holds many values, of which a payload tells single ones"
        reader.report(at, "bad-value", message, f"write start.{path}.NAME")

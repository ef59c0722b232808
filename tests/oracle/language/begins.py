"""Random starts that are more than an event or a condition: sequences, dates, what another rule decides."""

from __future__ import annotations

from random import Random
from typing import Any, Protocol

Told = dict[str, Any]

KEYED = {
    "product_id": ["product_viewed", "product_added", "product_removed"],
    "cart_id": ["product_added", "cart_viewed"],
}
ANYBODYS = ["product_viewed", "product_added", "page_viewed", "form_submitted"]
TELLS = {
    "product_viewed": "product_id",
    "product_added": "product_id",
    "product_removed": "product_id",
    "page_viewed": "path",
    "form_submitted": "form_id",
    "cart_viewed": "cart_id",
}
LENGTHS = ["10m", "20m", "30m"]
OUTCOMES = ["fired", "fired", "fired", "cancelled", "suppressed"]


class Sayings(Protocol):
    """What of `topologies.Sayings` is asked here."""

    rng: Random
    known: dict[str, list[Told]]
    told: dict[str, Told]
    begins: tuple[str, ...]

    def where(self, event: str, chance: float = 0.35) -> Told:
        """See there."""


def begin(say: Sayings, told: Told, begins: tuple[str, ...]) -> None:
    """Another start for a rule, and how long it waits."""
    kind = say.rng.choice([kind for kind in begins if kind != "yearly"])
    if kind == "trigger" and not (others := [name for name in say.told if fits(say.told[name], told.get("per"))]):
        kind = "sequence"
    if kind == "date":
        dated(say, told)
    elif kind == "trigger":
        told["start"] = {"trigger": {"rule": say.rng.choice(others), "outcome": say.rng.choice(OUTCOMES)}}
        told.pop("without_key", None)
    else:
        sequence(say, told, lasting=kind == "lasting")


def fits(other: Told, per: str | None) -> bool:
    """May a rule with this `per` start by another one?"""
    return per is None or other.get("per") == per


def sequence(say: Sayings, told: Told, *, lasting: bool) -> None:
    """Two or three steps; perhaps with something that must not be between, or not after the last."""
    rng, per = say.rng, told.get("per")
    kinds = KEYED[per] if per else ANYBODYS
    most = 2 if lasting else 3
    events = [rng.choice(kinds) for _ in range(rng.choice([1, 2] if lasting else [2, 2, most]))]
    if per and len(events) > 1 and rng.random() < 0.3:
        events[0] = rng.choice(["page_viewed", "form_submitted"])  # it has no key, and counts for each
    steps: list[Told] = [{"event": event, **(say.where(event, 0.2) if event in say.known else {})} for event in events]
    first = steps[0]["event"]
    if rng.random() < 0.4:
        steps[0]["as"] = "one"
        same = steps[-1] if len(steps) > 1 and steps[-1]["event"] in TELLS else None
        if same is not None and TELLS[same["event"]] == TELLS[first]:
            same["where"] = {TELLS[first]: rng.choice(["one." + TELLS[first], {"not": "one." + TELLS[first]}])}
    if len(steps) > 1 and rng.random() < 0.35:
        steps.insert(1, {"not": {"event": rng.choice([*kinds, "order_completed"])}})
    told["start"] = {"sequence": steps, "within": rng.choice(["10m", "30m", "1h", "2h"])}
    if lasting:
        no: Told = {"event": rng.choice([*kinds, "order_completed", "order_completed"])}
        if steps[0].get("as") and TELLS.get(no["event"]) == TELLS[first] and rng.random() < 0.5:
            no["where"] = {TELLS[first]: "one." + TELLS[first]}
        steps.append({"not": no, "for": rng.choice(LENGTHS)})
        told.pop("once", None)


def dated(say: Sayings, told: Told) -> None:
    """A date of a person's, or told by a form."""
    rng = say.rng
    told.pop("once", None)
    told.pop("without_key", None)
    told.pop("per", None)
    date: Told = {"trait": "ends"}
    if rng.random() < 0.4:
        date = {"event": "form_submitted", "field": "fields.ends", **say.where("form_submitted", 0.2)}
        if rng.random() < 0.5:
            told["per"] = "form_id"
    kind = rng.random()
    if kind < 0.3:
        date["offset"] = rng.choice(["10m", "-10m", "30m", "-1h"])
    elif kind < 0.6:
        date["at"] = rng.choice(["10:30", "11:00", "12:15"])
        if rng.random() < 0.4:
            date["offset"] = rng.choice(["-1d", "1d"])
    if "yearly" in say.begins and rng.random() < 0.25:
        date["every"] = "year"
        told["once"] = False  # nor again
    told["start"] = {"date": date}

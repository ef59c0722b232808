"""The whole shipped topology: topology.yaml with all that its included files hold, switched on; and what people do
that its rules look at.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import yaml

Told = dict[str, Any]

SHIPPED = Path(__file__).parents[1] / "topology.yaml"
SECTIONS = ("triggers", "segments", "measures", "lists")
HOURS_A_DAY = 24
MINUTES_A_DAY = 10


def document() -> Told:
    """topology.yaml as one document, with everything of its included files switched on."""
    whole: Told = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    switch_on(whole)
    return whole


def switch_on(whole: Told) -> None:
    """Put everything of its included files into a document."""
    for name in whole.pop("include"):
        add(whole, yaml.safe_load((SHIPPED.parent / name).read_text(encoding="utf-8")))


def hurried() -> Told:
    """The same, with a day of ten minutes in the rules that are included: all of it happens in an afternoon."""
    whole: Told = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    for name in whole.pop("include"):
        add(whole, _hurried(yaml.safe_load((SHIPPED.parent / name).read_text(encoding="utf-8"))))
    return whole


def add(whole: Told, part: Told) -> None:
    """Put what an included file holds into a document, switched on."""
    for section in SECTIONS:
        for name, told in (part.get(section) or {}).items():
            whole.setdefault(section, {})[name] = {key: value for key, value in told.items() if key != "enabled"}


def _hurried(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: _hurried(value) for key, value in told.items()}
    if isinstance(told, list):
        return [_hurried(value) for value in told]
    if isinstance(told, str) and (found := re.fullmatch(r"(\d+)([dh])", told)):
        seconds = int(found[1]) * MINUTES_A_DAY * 60 // (1 if found[2] == "d" else HOURS_A_DAY)
        return f"{seconds}s"
    return told


def doing(r: Random, person: str) -> tuple[str, Told]:
    """Something that a person does, or that is told of them, which the included rules look at: a type and its body."""
    products = [{"product_id": f"p{r.randrange(3)}", "quantity": 1, "price": 120.0, "currency": "EUR"}]
    message = {"message_id": f"{person} {r.randrange(3)}", "campaign": "spring"}
    film = {"film": f"f{r.randrange(4)}", "total_length": 100.0, "session_id": person}
    every: list[tuple[int, str, Told]] = [
        (6, "product_viewed", {"product_id": f"p{r.randrange(3)}", "name": "Tent"}),
        (5, "page_viewed", {"path": r.choice(["/pricing", "/pricing", "/"])}),
        (3, "searched", {"query": "tent", "results": r.choice([0, 0, 4])}),
        (
            3,
            "custom",
            {"name": r.choice(["form started", "signed up"]), "properties": {"form_id": f"g{r.randrange(2)}"}},
        ),
        (2, "form_submitted", {"form_id": f"g{r.randrange(2)}", "fields": {}}),
        (1, "call_logged", {"outcome": "reached"}),
        (2, "asset_downloaded", {"asset": r.choice(["ebook", "Ebook 2"])}),
        (2, "email_sent", {**message, "link_ids": ["ebook"]}),
        (
            4,
            "email_clicked",
            {**message, "link_id": r.choice(["ebook", "x"]), "confidence": r.choice(["human", "machine"])},
        ),
        (1, "email_bounced", {**message, "kind": r.choice(["soft", "hard"])}),
        (1, r.choice(["email_unsubscribed", "email_complained"]), message),
        (2, "video_progressed", {**film, "watched_from": 0.0, "watched_to": r.choice([40.0, 60.0, 95.0])}),
        (2, "video_completed", film),
        (2, "identified", {"traits": {"first_name": person, "company": "x", "timezone": "Europe/Vienna"}}),
        (2, "product_added", {"cart_id": f"w{person}", **products[0]}),
        (1, "cart_updated", {"cart_id": f"w{person}", "products": products}),
        (3, "order_completed", {"order_id": f"{person} {r.randrange(9)}", "total": 120.0, "products": products}),
    ]
    _, kind, body = r.choices(every, weights=[weight for weight, _, _ in every])[0]
    return kind, dict(body)

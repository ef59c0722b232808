"""What a person is said to be: each attribute as it was told last."""

from __future__ import annotations

from typing import Any

from pipeline.events.catalogue import doing
from pipeline.profile.parts.part import Facts, Part
from pipeline.profile.parts.primitives import Newest

ATTRIBUTES_KEPT = 50


def show(attributes: dict[str, list[Any]]) -> Facts:
    """By name."""
    return {"attributes": {name: value for name, (value, *_) in sorted(attributes.items())}}


PART = Part("traits", {("attributes",): Newest("traits", doing("traits"), ATTRIBUTES_KEPT)}, show)

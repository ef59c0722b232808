"""What a person agreed to: purpose -> granted or refused, as it was told last."""

from __future__ import annotations

from typing import Any

from pipeline.events.catalogue import catalogue
from pipeline.events.model import CONSENT
from pipeline.events.times import rfc3339
from pipeline.profile.parts.part import Facts, Part
from pipeline.profile.parts.primitives import Newest

PURPOSES_KEPT = 50


def show(consent: dict[str, list[Any]]) -> Facts:
    """By purpose. `at`: when it was told last."""
    return {
        "consent": [
            {"purpose": purpose, "granted": granted, "at": rfc3339(at)}
            for purpose, (granted, at, _) in sorted(consent.items())
        ]
    }


PART = Part(
    "consent",
    {("consent",): Newest(CONSENT, None, PURPOSES_KEPT)},
    show,
    reads=dict.fromkeys(catalogue(), (CONSENT,)),
)

"""What is remembered of a person, part by part: each is one module, and a line here."""

from __future__ import annotations

from pipeline.profile.parts import consent, counts, messages, products, timeline, traits, visits
from pipeline.profile.parts.part import Part

PARTS: tuple[Part, ...] = (
    counts.PART,
    timeline.PART,
    traits.PART,
    products.PART,
    messages.PART,
    consent.PART,
    visits.PART,
)

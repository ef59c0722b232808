"""Addresses in messages."""

from __future__ import annotations

from pipeline.errors import shown
from pipeline.events.addresses import origin

__all__ = ["origin", "shown"]

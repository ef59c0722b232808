"""Event types by the codes under which profiles count them."""

from __future__ import annotations

from pipeline.profile.parts.part import CODE

ADDED = CODE["product_added"]
VIEWED = CODE["page_viewed"]

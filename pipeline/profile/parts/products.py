"""Which products a person looked at."""

from __future__ import annotations

from pipeline.events.catalogue import doing
from pipeline.events.times import rfc3339
from pipeline.profile.parts.part import Facts, Part
from pipeline.profile.parts.primitives import Tally

PRODUCTS_KEPT = 20


def show(products: dict[str, list[int]]) -> Facts:
    """The most looked at first."""
    found = sorted(products.items(), key=lambda p: (-p[1][0], -p[1][1], p[0]))
    return {
        "products": [
            {"product": name, "views": views, "last": rfc3339(last * 1000) if last else None}
            for name, (views, last) in found
        ]
    }


PART = Part("products", {("products",): Tally(("product_id", "sku", "name"), doing("product"), PRODUCTS_KEPT)}, show)

"""Where a web address leads, and which are handed on to nobody."""

from __future__ import annotations

import pytest

from pipeline.topology.addresses import origin

SHOP = "https://shop.example"


@pytest.mark.parametrize(
    "url",
    [
        SHOP, f"{SHOP}/", f"{SHOP}/p/1?a=b#c", f"{SHOP}:443/p", "HTTPS://Shop.EXAMPLE/p", f"{SHOP}/ä", f"{SHOP}/a%20b",
        f"{SHOP}?next=https://evil.example", f"{SHOP}/@evil.example",
    ],
)  # fmt: skip
def test_what_leads_to_the_shop(url: str) -> None:
    assert origin(url) == SHOP


@pytest.mark.parametrize(
    "url",
    [
        f"{SHOP}@evil.example", f"{SHOP}:pw@evil.example/", f"{SHOP}:443@evil.example", f"{SHOP}.evil.example/",
        f"{SHOP}\\@evil.example", f"{SHOP}%2eevil.example", f"{SHOP}%40evil.example", f"{SHOP}:444/", f"{SHOP}:/",
        f"{SHOP}\t.evil.example", f"{SHOP}\u3002evil.example", f"{SHOP}\u200b/", f"{SHOP}/\u202egpj.exe", f"{SHOP}/a b",
        f'{SHOP}/"onload=x', f"{SHOP}/'x", f"{SHOP}/<script>", f"{SHOP}/\0", "https://user@shop.example/",
        "//shop.example",
        "https:shop.example", "https:/shop.example", "https:///shop.example", "http://shop.example/", "ftp://shop.example",
        "https://\u0455hop.example/", "https://\uff33hop.example/", "https://evil.example/https://shop.example",
        "javascript:alert(1)", "data:text/html,x", "blob:https://shop.example/x", "/p/1", "p/1", "",
    ],
)  # fmt: skip
def test_what_does_not(url: str) -> None:
    assert origin(url) != SHOP

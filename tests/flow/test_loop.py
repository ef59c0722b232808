"""From a click to a trigger: somebody in a browser leaves a cart in a small shop, and an automation hears of it."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clients.running import HERE
from tests.collector import PUBLIC, EdgeProcess
from tests.deployment import Deployment
from tests.servers import KafkaServer, SchemaRegistry

pytestmark = pytest.mark.servers

KEYS = {"page": {"key": PUBLIC, "public": True}}


def quick(document: dict[str, Any]) -> None:
    document["triggers"] = {"abandoned_cart": {**document["triggers"]["abandoned_cart"], "after": "2s"}}
    document["time"].update(lateness="500ms", disorder="1s", idle={"after": "500ms", "every": "250ms"})


def test_a_cart_left_in_a_browser_becomes_a_trigger(
    tmp_path: Path, kafka: KafkaServer, redis_url: str, registry: SchemaRegistry, prefix: str
) -> None:
    picture = tmp_path / "shop.png"
    with ExitStack() as stack:
        name = prefix.rstrip(".")
        shop = stack.enter_context(Deployment(tmp_path, name, kafka.bootstrap, redis_url, registry, quick))
        shop.run("topics")
        worker = shop.worker()
        edge = stack.enter_context(EdgeProcess(shop, keys=KEYS))
        worker.wait_ready()
        who = visit(f"http://127.0.0.1:{edge.port}", "cart-7", picture)
        left = time.monotonic()
        while not (triggers := shop.triggers()):
            assert time.monotonic() - left < 30, worker.tail()
            worker.check()
            time.sleep(0.2)
        assert [event.type for event in edge.events()] == ["page_viewed", "product_viewed", "product_added"]
    [trigger] = triggers
    assert (trigger["rule"], trigger["outcome"], trigger["correlation_key"]) == ("abandoned_cart", "fired", "cart-7")
    assert trigger["identifiers"] == {"anonymous_id": [who]}
    [line] = trigger["payload"]["lines"]
    assert (line["product"], line["name"], line["total"]) == ("tent", "Tent “North 2”", 249.5)
    assert picture.stat().st_size > 10_000


def visit(edge: str, cart: str, picture: Path) -> str:
    """The anonymous id of who was in the shop."""
    command = ["node", str(HERE / "shop.mjs"), edge, PUBLIC, cart, str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout)["anonymousId"])

"""The collector on a real Kafka: what is answered, what arrives, what is refused and how."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.clients.running import PYTHON
from tests.collector import PUBLIC, SECRET, EdgeProcess, acknowledged, call, under_load
from tests.deployment import PIPELINE, Deployment
from tests.registry import RegistryServer
from tests.servers import HOST, KafkaServer, free_port

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaServer) -> Iterator[EdgeProcess]:
    with ExitStack() as stack:
        registry = stack.enter_context(RegistryServer())
        folder = tmp_path_factory.mktemp("edge")
        shop = stack.enter_context(Deployment(folder, "edge", kafka.bootstrap, "redis://unused:1", registry))
        shop.run("topics")
        yield stack.enter_context(EdgeProcess(shop, processes=2, event_bytes=4_000, request_bytes=100_000))


def ids(edge: EdgeProcess) -> dict[str, Any]:
    return {event.event_id: event for event in edge.events()}


def test_what_is_answered_for_is_in_kafka(edge: EdgeProcess) -> None:
    before = int(time.time() * 1000)
    told = [call(f"m{i}", properties={"product_id": "p", "price": "12.5"}, receivedAt="2001-01-01") for i in range(3)]
    answer = edge.post("/v1/batch", {"batch": told, "sentAt": "2026-01-01T00:00:10Z"}, packed=True)
    assert (answer.status, answer.json) == (200, {"success": True})
    found = ids(edge)
    assert {"m0", "m1", "m2"} <= found.keys()
    event = found["m0"]
    assert (event.type, event.identifiers) == ("product_added", {"anonymous_id": "a1"})
    assert event.body["price"] == 12.5
    assert before <= event.received_at <= int(time.time() * 1000)
    assert "unproven" not in (event.context or {})


def test_a_batch_keeps_its_good_events_and_tells_of_each_bad_one(edge: EdgeProcess) -> None:
    told = [call("good1"), {"type": "track"}, call("large", properties={"x": "y" * 5_000}), 7, call("good2")]
    answer = edge.post("/v1/batch", {"batch": told})
    assert answer.status == 200
    assert [(each["index"], each["reason"]) for each in answer.json["errors"]] == [
        (1, "invalid_shape"),
        (2, "too_large"),
        (3, "invalid_shape"),
    ]
    assert {"good1", "good2"} <= ids(edge).keys()
    letters = edge.dead_letters()
    assert ("invalid_shape", b"7") in letters
    assert [reason for reason, value in letters if b"yyyyy" in value] == ["too_large"]


def test_one_bad_event_alone_is_the_clients_fault(edge: EdgeProcess) -> None:
    assert edge.post("/v1/track", {"anonymousId": "a"}).status == 400
    assert edge.post("/v1/track", b"{not json").status == 400
    assert edge.post("/v1/batch", b"x" * 200_000).status == 413
    assert edge.post("/v1/track", {"event": "x", "anonymousId": "a"}, "wrong-key").status == 401
    assert edge.post("/v1/track", {"event": "x", "anonymousId": "a"}, None).status == 401
    assert edge.post("/v1/track", {"event": "x", "anonymousId": "a", "writeKey": SECRET}, None).status == 200


def test_a_public_key_proves_nothing_and_may_not_tell_of_orders(edge: EdgeProcess) -> None:
    page = {"Origin": "https://shop.example", "X-Forwarded-For": "203.0.113.9", "User-Agent": "Mozilla/5.0 Firefox/130"}
    answer = edge.post("/v1/t", call("page1", userId="u7", context={"ip": "1.2.3.4"}), PUBLIC, headers=page)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    event = ids(edge)["page1"]
    assert event.context == {
        "unproven": ["anonymous_id", "user_id"],
        "ip": "127.0.0.0",  # nobody's proxy is believed, and of an address its network is kept
        "user_agent": "Mozilla/5.0 Firefox/130",
    }
    order = {"type": "track", "event": "Order Completed", "anonymousId": "a", "properties": {"order_id": "1"}}
    answer = edge.post("/v1/t", order, PUBLIC, headers=page)
    assert (answer.status, answer.json["errors"][0]["reason"]) == (400, "not_allowed")
    assert edge.post("/v1/t", order, SECRET).status == 200
    assert edge.post("/v1/t", call("page2"), PUBLIC, headers={"Origin": "https://evil.example"}).status == 403
    assert "page2" not in ids(edge)


def test_beyond_its_rate_a_key_is_asked_to_wait(edge: EdgeProcess) -> None:
    keys = {"slow": {"key": "key-with-a-limit", "rate": 1, "burst": 2}}
    tracked: dict[str, Any] = {"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"}
    tracked["data"] = [{"e": "pv", "aid": "key-with-a-limit", "duid": "d", "eid": f"sp{n}"} for n in range(2)]
    with EdgeProcess(edge.deployment, keys=keys) as slow:
        path = "/com.snowplowanalytics.snowplow/tp2"
        assert slow.post(path, tracked, None).status == 200
        answer = slow.post("/v1/track", call("late"), "key-with-a-limit")
        assert (answer.status, int(answer.headers["retry-after"]) >= 1) == (429, True)
        began = time.monotonic()
        assert slow.post(path, tracked, None).status == 429
        assert time.monotonic() - began > 0.9  # some of Snowplow's ask again at once
        stranger = {**tracked, "data": [{"e": "pv", "aid": "nobody's", "duid": "d", "eid": "sp9"}]}
        assert slow.post(path, stranger, None).status == 200  # or it would be sent again and again
    assert {"sp0", "sp1"} <= ids(edge).keys()
    assert not {"late", "sp9"} & ids(edge).keys()


def test_robots_are_flagged(edge: EdgeProcess) -> None:
    robot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    told = {"anonymousId": "r", "messageId": "bot"}
    assert edge.post("/v1/p", told, PUBLIC, headers={"User-Agent": robot}).status == 200
    assert (ids(edge)["bot"].context or {})["bot"] is True


def test_one_address_tells_of_all_processes(edge: EdgeProcess) -> None:
    for _ in range(20):
        edge.post("/v1/track", call("again"))
    time.sleep(1.0)  # they tell of it a few times a second
    text = edge.get("/metrics", edge.admin).body.decode()
    line = next(
        each for each in text.splitlines() if 'events_total{family="segment",key="server",outcome="accepted"}' in each
    )
    assert float(line.split()[-1]) >= 20
    assert 'key="unknown",outcome="unknown_key"' in text
    assert edge.get("/metrics").status == 404  # not for the world


def test_with_a_certificate_it_speaks_https(edge: EdgeProcess, tmp_path: Path) -> None:
    certificate, private = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    wanted = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 2"
    subprocess.run([*wanted.split(), "-out", certificate, "-keyout", private], check=True, capture_output=True)
    with EdgeProcess(edge.deployment, certificate=certificate, private_key=private) as safe:
        told = json.dumps(call("tls")).encode()
        trusting = ssl.create_default_context(cafile=certificate)
        request = Request(f"https://localhost:{safe.port}/v1/track?writeKey={SECRET}", told)
        with urlopen(request, timeout=20, context=trusting) as answered:
            assert answered.status == 200
    assert "tls" in ids(edge)


def test_without_its_schemas_it_takes_nothing_yet(tmp_path: Path, kafka: KafkaServer) -> None:
    with (
        RegistryServer() as registry,
        Deployment(tmp_path, "edge-early", kafka.bootstrap, "redis://unused:1", registry) as shop,
    ):
        edge = EdgeProcess(shop)
        with pytest.raises(AssertionError, match="no event is taken yet"):  # it isn't ready, and says why
            edge.start(patience_s=8)
        try:
            shop.run("topics")
            deadline = time.monotonic() + 30
            while not edge.ready():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert edge.post("/v1/track", call("early")).status == 200
        finally:
            assert edge.stop() == 0


def test_it_ends_in_order_and_nothing_acknowledged_is_lost(edge: EdgeProcess) -> None:
    with under_load(edge, 4) as sent:
        time.sleep(1.5)
        assert len(edge.processes()) == 2
        os.kill(edge.processes()[0], signal.SIGKILL)
        time.sleep(3)
        assert edge.stop() == 0
    assert len(acknowledged(sent)) > 50
    assert acknowledged(sent) <= {event.event_id for event in edge.events()}


def test_a_visit_to_the_demos_shop_ends_in_a_reminder() -> None:
    port = free_port()
    command = [*PIPELINE, "demo", "--shop", "--port", str(port), "--seconds", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1) as shop:
        assert shop.stdout is not None
        said = iter(shop.stdout.readline, "")
        assert "The shop is open" in next(said)
        with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
            assert "demo-shop" in page.read().decode()
        told: dict[str, Any] = {"writeKey": "demo-shop", "event": "Product Added", "anonymousId": "anna"}
        told["properties"] = {"cart_id": "c", "product_id": "tent", "name": "Tent", "price": 249.5, "currency": "EUR"}
        urlopen(Request(f"http://127.0.0.1:{port}/v1/track", json.dumps(told).encode()), timeout=10).close()
        lines = list(said)
        assert shop.wait(30) == 0
    assert any("product_added" in line and "Tent" in line for line in lines), lines
    assert any("fired" in line and "1 × tent  249.50 EUR" in line for line in lines), lines


def test_it_answers_as_its_openapi_document_says(edge: EdgeProcess) -> None:
    """Whatever a property tester makes of that document. It can't know which events say enough: whether what fits the
    document is taken, and what doesn't is refused, is not asked.
    """
    with EdgeProcess(edge.deployment) as own:
        command: list[str | Path] = [
            *(
                PYTHON.with_name("schemathesis"),
                "run",
                f"http://{HOST}:{own.port}/openapi.json",
                "--auth",
                f"{SECRET}:",
            ),
            *("--exclude-checks", "positive_data_acceptance,negative_data_rejection", "--phases", "coverage,fuzzing"),
            *("--max-examples", "5", "--seed", "17", "--no-shrink", "--continue-on-failure"),
        ]
        made = subprocess.run(command, cwd=own.path.parent, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout[-5_000:] + made.stderr[-2_000:]
    assert int(re.findall(r"(\d[\d,]*) generated", made.stdout)[0].replace(",", "")) > 1_000

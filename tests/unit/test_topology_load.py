"""The shipped topology.yaml, and what `load` makes of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import TopologyError
from pipeline.topology import VARIABLES, lint, load
from pipeline.topology.addresses import origin
from pipeline.topology.model import DAY, HOUR, MINUTE, SECOND, Namespace, Selector, Topic

SHIPPED = Path(__file__).parents[2] / "topology.yaml"


def test_the_shipped_file_has_no_findings() -> None:
    assert lint(SHIPPED, {}) == []


def test_the_shipped_topics() -> None:
    topics = load(SHIPPED, {}).topics
    assert topics.sources == tuple(
        Topic(name=f"events.{stream}", partitions=4, retention_ms=7 * DAY, stream=stream, append_time=True)
        for stream in ("clickstream", "email", "video", "offline")
    )
    assert topics.resolved == Topic(
        name="identity.resolved", partitions=4, retention_ms=7 * DAY, append_time=True, role="internal"
    )
    assert topics.triggers.name == "triggers"
    assert (topics.decisions.name, topics.decisions.retention_ms) == ("decisions", 30 * DAY)
    assert topics.dead_letters.name == "events.dead-letter"


def test_the_shipped_times_and_limits() -> None:
    topology = load(SHIPPED, {})
    time = topology.time
    assert (time.lateness_ms, time.disorder_ms) == (5 * MINUTE, 10 * SECOND)
    assert (time.max_age_ms, time.max_ahead_ms) == (72 * HOUR, 1 * MINUTE)
    assert (time.idle.after_ms, time.idle.every_ms) == (5 * SECOND, 1 * SECOND)
    assert topology.profile_retention_ms == 90 * DAY
    limit = topology.dead_letter_limit
    assert (limit.share, limit.window, limit.run) == (0.5, 1_000, 500)
    assert topology.left_out == ()


def test_the_shipped_identifiers_are_those_of_the_semantics() -> None:
    identifiers = load(SHIPPED, {}).identifiers
    assert identifiers.namespaces == (
        Namespace(name="user_id", priority=1, unique=True),
        Namespace(name="crm_id", priority=2, limit=100),
        Namespace(name="email", priority=3, limit=10, lowercase=True),
        Namespace(name="device_id", priority=4, limit=100, device=True),
        Namespace(name="anonymous_id", priority=5, limit=100, device=True),
    )
    zero = "00000000-0000-0000-0000-000000000000"
    words = {"null", "none", "undefined", "anonymous", "unknown", "nan", "n/a", "false", "true", "guest", "nil"}
    words.add("[object object]")
    assert identifiers.blocked == {"", "-1", "0", zero, *words}


def test_the_shipped_rules() -> None:
    cart, ebook, film = load(SHIPPED, {}).rules
    orders = Selector(events=("order_completed", "offline_purchased"))

    assert (cart.name, cart.version, cart.per, cart.without_key) == ("abandoned_cart", 1, "cart_id", "shared")
    assert cart.start == Selector(events=("product_added", "cart_updated"))
    assert [each.takes for each in cart.cancel] == [True, False]
    assert cart.restart == Selector(events=("product_removed", "cart_viewed"))
    assert (cart.after_ms, cart.once, cart.until_cart_empty, cart.payload) == (HOUR, False, "emptied", ("cart",))
    assert [(each.select, each.match, each.without_key, each.reason) for each in cart.cancel] == [
        (orders, "cart_id", "all", "bought"),
        (Selector(events=("cart_cleared",)), "cart_id", "all", "cleared"),
    ]

    assert (ebook.per, ebook.once, ebook.forget_ms, ebook.after_ms) == ("message_id", True, 72 * HOUR, 3 * DAY)
    assert ebook.start == Selector(events=("email_sent",), where={"link_ids": {"contains": "ebook"}})
    clicked, downloaded, bounced, unsubscribed, complained = ebook.cancel
    assert clicked.select.where == {"link_id": {"is": "ebook"}, "confidence": {"not": "machine"}}
    assert (clicked.match, clicked.before_start) == ("message_id", True)
    assert downloaded.select == Selector(events=("asset_downloaded",), where={"asset": {"is": "ebook"}})
    assert (downloaded.match, downloaded.before_start, downloaded.reason) == (None, True, "downloaded")
    assert bounced.select == Selector(events=("email_bounced",), where={"kind": {"not": "soft"}})
    assert (bounced.match, bounced.before_start, bounced.reason) == ("message_id", True, "unreachable")
    for each, reason in ((unsubscribed, "unsubscribed"), (complained, "complained")):
        assert (each.match, each.before_start, each.reason) == (None, False, reason)

    assert (film.per, film.once, film.forget_ms, film.watched_share) == ("film", True, None, 0.5)
    assert set(film.start.events) == {
        f"video_{what}" for what in ("started", "progressed", "paused", "resumed", "sought", "completed")
    }
    assert (film.after_ms, film.payload) == (24 * HOUR, ("film",))
    assert [(each.select, each.match, each.reason) for each in film.cancel] == [(orders, None, "ordered")]


def test_the_environment_wins() -> None:
    env = {
        "PIPELINE_KAFKA": "a:9092,b:9093",
        "PIPELINE_REDIS": "rediss://user:secret@r.example:6380/2",
        "PIPELINE_REGISTRY": "https://registry.example",
        "PIPELINE_GROUP": "staging",
        "PIPELINE_HTTP_HOST": "::1",
        "PIPELINE_HTTP_PORT": "9100",
    }
    assert env.keys() == VARIABLES.keys()
    topology = load(SHIPPED, env)
    assert topology.kafka == env["PIPELINE_KAFKA"]
    assert topology.redis == env["PIPELINE_REDIS"]
    assert topology.registry == env["PIPELINE_REGISTRY"]
    assert (topology.group, topology.http_host, topology.http_port) == ("staging", "::1", 9100)


def test_every_variable_is_named_in_the_shipped_file() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert [name for name in VARIABLES if name not in text] == []


def test_an_empty_variable_counts_as_unset() -> None:
    assert load(SHIPPED, {"PIPELINE_KAFKA": ""}).kafka == "localhost:9092"


def test_the_least_that_a_topology_must_say(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(
        "kafka: k:9092\nredis: redis://r:6379\nregistry: mock://\ngroup: g\n"
        "topics: {sources: {all: }}\nidentifiers: {namespaces: {user_id: {unique: true}, email: }}\n",
        encoding="utf-8",
    )
    assert lint(path, {}) == []
    topology = load(path, {})
    assert topology.topics.sources == (Topic(name="all", append_time=True),)
    assert topology.topics.dead_letters.name == "events.dead-letter"
    assert [(each.name, each.priority) for each in topology.identifiers.namespaces] == [("user_id", 1), ("email", 2)]
    assert (topology.time.lateness_ms, topology.rules) == (5 * MINUTE, ())
    assert (topology.http_host, topology.http_port) == ("127.0.0.1", 8080)


def test_load_lists_every_error_at_once(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    text = SHIPPED.read_text(encoding="utf-8")
    path.write_text(
        text.replace("after: 1h", "after: 1 hour").replace("asset: ebook", "assets: ebook"), encoding="utf-8"
    )
    with pytest.raises(TopologyError) as caught:
        load(path, {"PIPELINE_HTTP_PORT": "many"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("environment:0:0: error bad-environment: PIPELINE_HTTP_PORT")
    assert lines[1].startswith(f"{path}:")
    assert "bad-duration: '1 hour'" in lines[1]
    assert "did you mean asset?" in lines[2]


def test_warnings_dont_keep_a_topology_from_loading() -> None:
    env = {"PIPELINE_KAFKA": "mock://"}
    assert load(SHIPPED, env).kafka == "mock://"
    (finding,) = lint(SHIPPED, env)
    assert (finding.file, finding.severity, finding.code) == ("environment", "warning", "embedded-kafka")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://shop.example/a?b#c", "https://shop.example"),
        ("HTTPS://Shop.Example:443", "https://shop.example"),
        ("https://shop.example:8443/", "https://shop.example:8443"),
        ("http://[::1]:80/a", "http://[::1]"),
        ("https://shop.example@evil.example/", None),
        ("https://user:secret@shop.example/", None),
        ("https://shop.example\\@evil.example/", None),
        ("https://shop.example /", None),
        ("https://shop.example%2eevil.example/", None),
        ("https://sh\u00f6p.example/", None),
        ("//shop.example/", None),
        ("javascript:alert(1)//https://shop.example", None),
        ("", None),
    ],
)
def test_an_address_leads_to_one_place_or_to_none(url: str, where: str | None) -> None:
    assert origin(url) == where


def test_origins_are_compared_as_addresses_are(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(
        SHIPPED.read_text().replace("urls: {origins: []}", "urls: {origins: ['https://Shop.Example:443/']}")
    )
    assert load(path, {}).origins == {"https://shop.example"}

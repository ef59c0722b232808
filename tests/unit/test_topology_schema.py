"""The JSON Schema for editors: current, valid, and of one mind with the linter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline.events import schemas
from pipeline.grammar.shapes import Clause, Many, OneOf, Record, Shape, Table
from pipeline.grammar.vocabulary import bodies, event_types
from pipeline.topology import jsonschema, lint
from pipeline.topology.grammar import document

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "topology.yaml"
COMMITTED = ROOT / "topology.schema.json"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(COMMITTED.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_committed_file_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == jsonschema.text(), (
        "run: python -m pipeline.topology.jsonschema > topology.schema.json"
    )


def test_the_shipped_topology_names_it_and_passes(validator: Draft202012Validator) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=./topology.schema.json"
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


# Each changes the shipped topology at a path: what a grammar can tell.
BROKEN: list[tuple[tuple[Any, ...], Any]] = [
    (("kafka",), "nowhere"),
    (("kafka",), None),
    (("redis",), 6379),
    (("registry",), "ftp://x"),
    (("group",), ""),
    (("http", "port"), 0),
    (("http", "prot"), 1),
    (("topics", "sources"), {}),
    (("topics", "sources"), None),
    (("topics", "sources", "a b"), {}),
    (("topics", "resolved", "partitions"), "4"),
    (("topics", "resolved", "retention"), "4"),
    (("topics", "resolved", "retention"), "0d"),
    (("topics", "elsewhere"), {}),
    (("time", "lateness"), 300),
    (("time", "lateness"), "forever"),
    (("time", "idle", "after"), "0s"),
    (("identifiers", "namespaces", "user_id", "unique"), 1),
    (("identifiers", "namespaces", "User"), {}),
    (("identifiers", "blocked"), "null"),
    (("identifiers", "blocked", 0), 0),
    (("dead_letter_limit", "share"), 0),
    (("dead_letter_limit", "share"), 1.5),
    (("left_out",), ["events.email"]),
    (("urls", "origins"), ["shop.example"]),
    (("urls", "origins"), ["https://shop.example/path"]),
    (("triggers", "abandoned_cart", "cancel", 0, "takes"), "everything"),
    (("triggers", "abandoned_cart"), None),
    (("triggers", "abandoned_cart", "version"), 0),
    (("triggers", "abandoned_cart", "per"), "basket"),
    (("triggers", "abandoned_cart", "without_key"), "all"),
    (("triggers", "abandoned_cart", "start"), {}),
    (("triggers", "abandoned_cart", "start"), {"event": "product_added", "watched_share": 0.5}),
    (("triggers", "abandoned_cart", "start", "event"), "product_aded"),
    (("triggers", "abandoned_cart", "start", "event"), []),
    (("triggers", "abandoned_cart", "after"), "1 h"),
    (("triggers", "abandoned_cart", "cancel", 0, "match"), 3),
    (("triggers", "abandoned_cart", "cancel", 0, "reason"), "Bought"),
    (("triggers", "abandoned_cart", "until", "cart"), "full"),
    (("triggers", "abandoned_cart", "payload"), "cart"),
    (("triggers", "abandoned_cart", "caps"), {}),
    (("triggers", "ebook_not_clicked", "once"), {}),
    (("triggers", "ebook_not_clicked", "once"), "always"),
    (("triggers", "ebook_not_clicked", "start", "where", "linkids"), "ebook"),
    (("triggers", "ebook_not_clicked", "start", "where", "link_ids"), {}),
    (("triggers", "ebook_not_clicked", "start", "where", "link_ids"), {"has": "ebook"}),
    (("triggers", "ebook_not_clicked", "start", "where", "link_ids"), ["ebook"]),
    (("triggers", "ebook_not_clicked", "start", "where", "link_ids"), {"in": []}),
    (("triggers", "ebook_not_clicked", "start", "where", "link_ids"), {"exists": "yes"}),
    (("triggers", "ebook_not_clicked", "start", "where", "link_ids"), {"lt": "3"}),
    (("triggers", "film_half_watched", "start", "watched_share"), 0),
    (("triggers", "abandoned_cart", "per"), "properties."),
    (("triggers", "abandoned_cart", "payload"), {"cart": "basket"}),
    (("triggers", "abandoned_cart", "payload"), {"Cart": "cart"}),
    (("triggers", "ebook_not_clicked", "cancel", 0, "match"), {}),
    (("triggers", "ebook_not_clicked", "cancel", 0, "match"), {"message_id": "kye"}),
    (("triggers", "ebook_not_clicked", "start", "where"), {"propertis.a": "b"}),
    (("triggers", "ebook_not_clicked", "start", "where"), {"context.timezon": "b"}),
    (("triggers", "ebook_not_clicked", "start", "where", "link_ids"), {"ignoring_case": True}),
    (("triggers", "ebook_not_clicked", "start", "where", "link_ids"), {"between": [1]}),
    (("triggers", "ebook_not_clicked", "start", "where", "link_ids"), {"before": "soon"}),
]
FINE: list[tuple[tuple[Any, ...], Any]] = [
    (("topics", "sources", "events.email"), None),
    (("topics", "resolved"), None),
    (("topics", "decisions", "retention"), "forever"),
    (("time",), None),
    (("time", "lateness"), "0s"),
    (("triggers",), None),
    (("triggers", "abandoned_cart", "start", "event"), ["product_added"]),
    (
        ("triggers", "abandoned_cart", "start"),
        {"event": "product_added", "where": {"price": {"gte": 10, "lt": 20.5}, "sku": {"in": ["a"]}}},
    ),
    (
        ("triggers", "ebook_not_clicked", "start", "where"),
        {
            "link_ids": {"starts_with": "eb", "ignoring_case": True},
            "context.campaign.source": "mail",
            "consent.a": True,
        },
    ),
    (("triggers", "abandoned_cart", "restart", "where"), {"context.url": {"matches": "^https:"}}),
    (
        ("triggers", "ebook_not_clicked", "cancel", 0, "where"),
        {"campaign": "start.campaign", "message_id": {"not": "key"}},
    ),
    (("triggers", "ebook_not_clicked", "cancel", 0, "match"), {"message_id": "key", "url": "start.context.url"}),
    (("triggers", "abandoned_cart", "payload"), {"all": "cart", "page": "start.context.url", "name": "trait.name"}),
    (("triggers", "film_half_watched", "cancel", "where"), {"total": {"between": [5, 9]}}),
    (("urls", "origins"), ["https://shop.example", "http://localhost:8000"]),
    (("triggers", "film_half_watched", "cancel"), []),
]


def change(path: tuple[Any, ...], value: Any) -> Any:
    """The shipped topology, changed at one place."""
    found = node = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return found


@pytest.mark.parametrize(("path", "value"), [*BROKEN, *FINE], ids=str)
def test_schema_and_linter_agree(
    path: tuple[Any, ...], value: Any, validator: Draft202012Validator, tmp_path: Path
) -> None:
    changed = change(path, value)
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")
    errors = [finding for finding in lint(file, {}) if finding.severity == "error"]
    broken = (path, value) in BROKEN
    assert bool(errors) == broken, errors
    assert validator.is_valid(changed) != broken


@pytest.mark.parametrize("key", ["kafka", "redis", "registry", "group", "topics", "identifiers"])
def test_both_miss_what_must_be_there(key: str, validator: Draft202012Validator, tmp_path: Path) -> None:
    changed = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    del changed[key]
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")
    assert any(finding.code == "missing-key" and finding.message.startswith(key) for finding in lint(file, {}))
    assert not validator.is_valid(changed)


def keys(shape: Shape) -> list[tuple[str, Clause]]:
    """Every key of the grammar, at any depth."""
    match shape:
        case Record():
            inner = [pair for key in shape.keys.values() for pair in keys(key.shape)]
            return [*shape.keys.items(), *inner]
        case Table():
            return keys(shape.value)
        case Many():
            return keys(shape.item)
        case OneOf():
            return [*keys(shape.plain), *keys(shape.mapping)]
        case _:
            return []


def test_every_key_is_documented() -> None:
    found = keys(document())
    assert len(found) > 50
    assert [name for name, key in found if not key.doc.endswith(".")] == []


def test_the_vocabulary_is_that_of_the_avro_schemas() -> None:
    assert set(event_types()) == set(schemas.names())
    for event in event_types():
        assert set(bodies()[event]) == schemas.body_fields(event)
    assert bodies()["email_sent"]["link_ids"].kind == "list"
    assert bodies()["order_completed"]["products"].kind == "records"
    assert bodies()["email_clicked"]["confidence"].choices == ("human", "machine", "unknown")
    assert bodies()["product_added"]["price"].kind == "number"
    assert bodies()["custom"]["properties"].kind == "map"

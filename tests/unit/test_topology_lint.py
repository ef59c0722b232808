"""The linter: each finding's place, code and hint; all of them in one pass; never an exception."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.topology import Finding, lint

Check = Callable[..., list[Finding]]

BASE = """\
kafka: k:9092
redis: redis://r:6379/0
registry: http://s:8081
group: g
topics:
  sources:
    events.email: {partitions: 4}
identifiers:
  namespaces:
    user_id: {priority: 1, unique: true}
    device_id: {priority: 2, device: true}
triggers:
  cart:
    version: 1
    per: cart_id
    start: {event: product_added}
    after: 1h
    cancel: {event: order_completed, match: cart_id, reason: bought}
"""
LINES = BASE.splitlines()


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Lint a text."""

    def run(text: str, env: dict[str, str] | None = None) -> list[Finding]:
        path = tmp_path / "t.yaml"
        path.write_text(text, encoding="utf-8")
        return lint(path, env or {})

    return run


def test_the_base_is_clean(check: Check) -> None:
    assert check(BASE) == []


# What is replaced in BASE, by what; then line, column, code and a part of "message (hint)" of the only finding.
CASES = [
    # spelling
    ("group: g", "gruop: g\ngroup: g", 4, 1, "unknown-key", "did you mean group?"),
    ("per: cart_id", "pre: cart_id\n    per: cart_id", 15, 5, "unknown-key", "did you mean per?"),
    ("group: g", "group: g\nzzz: 1", 5, 1, "unknown-key", "known keys: kafka, redis"),
    ("group: g", "group: g\n<<: {time: 1}", 5, 1, "unknown-key", "merge keys"),
    ("group: g", "group: g\ngroup: h", 5, 1, "duplicate-key", "the first is on line 4"),
    ("start: {event: product_added}", "", 13, 3, "missing-key", "start is missing"),
    ("start: {event: product_added}", "start: {}", 16, 5, "missing-key", "event or when or watched_share"),
    (", reason: bought", "", 18, 5, "missing-key", "reason is missing"),
    ("group: g\n", "", 1, 1, "missing-key", "group is missing"),
    ("group: g", "group: [g", 5, 7, "yaml-syntax", ""),
    ("group: g", "group: {g: 1}", 4, 8, "wrong-type", "a mapping"),
    ("triggers:", "? [a]\n: b\ntriggers:", 12, 3, "wrong-type", "a key can't be a list"),
    # durations and numbers
    ("after: 1h", "after: 60", 17, 12, "bad-duration", "'60' isn't a duration (write a number and a unit"),
    ("after: 1h", "after: 1h30m", 17, 12, "bad-duration", "250ms"),
    ("after: 1h", "after: 1:30", 17, 12, "bad-duration", "'1:30'"),
    ("after: 1h", "after: 0s", 17, 12, "bad-value", "too short"),
    ("after: 1h", "after: 9999999d", 17, 12, "bad-value", "thousand years"),
    ("after: 1h", "after: forever", 17, 12, "bad-duration", ""),
    ("{partitions: 4}", "{partitions: 0}", 7, 32, "bad-value", "1 to 10000"),
    ("{partitions: 4}", "{partitions: 2.5}", 7, 32, "wrong-type", "whole number"),
    ("{partitions: 4}", "{partitions: true}", 7, 32, "wrong-type", "whole number"),
    ("version: 1", "version: '1'", 14, 14, "wrong-type", "whole number"),
    ("unique: true", "unique: 'yes'", 10, 36, "wrong-type", "true or false"),
    # addresses
    ("kafka: k:9092", "kafka: k", 1, 8, "bad-value", "host:port"),
    ("redis: redis://r:6379/0", "redis: http://r", 2, 8, "bad-value", "redis://"),
    ("registry: http://s:8081", "registry: s:8081", 3, 11, "bad-value", "http://"),
    ("group: g", "group: 7", 4, 8, "wrong-type", 'quote it: "7"'),
    ("group: g", "group: g\nhttp: {port: 99999}", 5, 14, "bad-value", "65535"),
    # topics
    ("events.email: {", "events/email: {", 7, 5, "bad-name", "Kafka topic name"),
    ("events.email: {", "triggers: {", 7, 5, "duplicate-topic", "two uses"),
    ("events.email: {", "events_dead-letter: {", 7, 5, "duplicate-topic", "Kafka can't hold both"),
    ("{partitions: 4}", "{stream: mail}", 7, 28, "bad-value", "did you mean email?"),
    ("{partitions: 4}", "\n    other: {stream: email}", 8, 13, "duplicate-stream", "events.email already"),
    ("group: g", "group: g\nleft_out: [events.mail-1]", 5, 12, "unknown-topic", "did you mean events.email?"),
    # identifiers
    ("priority: 2", "priority: 1", 11, 27, "duplicate-priority", "user_id both have priority 1"),
    ("unique: true", "unique: true, limit: 3", 10, 49, "conflict", "at most"),
    ("device: true", "device: true, unique: true", 11, 52, "conflict", "several people"),
    ("unique: true", "unique: false", 9, 3, "no-unique", "user_id is unique"),
    ("  namespaces:", "  blocked: [0]\n  namespaces:", 9, 13, "wrong-type", 'quote it: "0"'),
    ("  namespaces:", '  blocked: [a, " A"]\n  namespaces:', 9, 16, "duplicate-value", "case"),
    # times
    ("group: g", "group: g\ntime: {lateness: 2d, max_age: 1d}", 5, 18, "bad-time", "shorten"),
    ("group: g", "group: g\nprofile: {retention: 1d}", 18, 12, "short-profile", "at least 73h"),
    ("group: g", "group: g\nbatches: {linger: 2s}", 5, 19, "long-linger", "at most 1s"),
    ("group: g", "group: g\nbatches: {linger: 1ms}", 5, 19, "bad-value", "too short"),
    ("{partitions: 4}", "{retention: 1h}", 7, 31, "short-retention", "time.max_age (3d)"),
    # events and fields
    ("event: product_added", "event: product_aded", 16, 20, "unknown-event", "did you mean product_added?"),
    ("event: product_added", "event: ProductAdded", 16, 20, "unknown-event", "did you mean product_added?"),
    ("event: product_added", "event: []", 16, 20, "bad-value", "empty"),
    ("per: cart_id", "per: cart", 15, 10, "unknown-field", "did you mean cart_id?"),
    ("per: cart_id", "per: film", 15, 10, "unknown-field", "product_added has no field film"),
    ("per: cart_id", "per: price", 15, 10, "bad-key", "isn't a text"),
    ("match: cart_id", "match: order", 18, 45, "unknown-field", "did you mean order_id?"),
    ("match: cart_id", "match: sku", 18, 45, "unknown-field", "order_completed has no field sku"),
    ("    per: cart_id\n", "", 17, 38, "no-key", "the rule has no key"),
    ("    per: cart_id\n", "    once: true\n", 18, 38, "no-key", ""),
    ("match: cart_id,", "without_key: all,", 18, 38, "no-effect", "remove it"),
    ("event: order_completed", "event: product_added", 18, 21, "start-and-cancel", "tell them apart"),
    ("match: cart_id", "match: cart_id, where: {order_id: {in: [x, key]}}", 18, 81, "literal", "a cancel for each"),
    ("event: product_added", "event: [product_added, product_added]", 16, 36, "duplicate-value", "twice"),
    ("reason: bought", "reason: due", 18, 62, "reserved-reason", "own"),
    ("reason: bought", "reason: Bought it", 18, 62, "bad-value", "lower-case"),
    ("  cart:", "  Cart Rule:", 13, 3, "bad-name", "lower-case"),
    # parts of a rule that must fit
    ("per: cart_id", "per: sku\n    until: {cart: empty, reason: emptied}", 16, 19, "bad-key", "per: cart_id"),
    ("after: 1h", "after: 1h\n    payload: [film]", 18, 15, "bad-key", "per: film"),
    ("after: 1h", "after: 1h\n    payload: [basket]", 18, 15, "bad-value", "known: cart, message, film"),
    ("after: 1h", "after: 1h\n    once: {forget: 1}", 18, 20, "bad-duration", ""),
    ("after: 1h", "after: 1h\n    once: maybe", 18, 11, "wrong-type", "true or false"),
    ("after: 1h", "after: 1h\n    once: true\n    restart: {event: cart_viewed}", 19, 5, "conflict", "never moved"),
    ("reason: bought", "reason: bought, before_start: true", 18, 70, "conflict", "write once: true"),
    ("start: {event: product_added}", "start: {watched_share: 2}", 16, 28, "bad-value", "at most 1"),
]


def where(condition: str) -> tuple[str, str]:
    """Put a condition where the base starts on a product."""
    return "event: product_added", f"event: product_added, where: {condition}"


CASES += [
    (*where("{skuu: a}"), 16, 43, "unknown-field", "did you mean sku?"),
    (*where("{link_ids: a}"), 16, 43, "unknown-field", "product_added has no field link_ids"),
    (*where("{sku: {nott: a}}"), 16, 49, "unknown-operator", "did you mean not?"),
    (*where("{sku: {}}"), 16, 48, "bad-value", "no condition"),
    (*where("{sku: [a]}"), 16, 48, "wrong-type", "a list"),
    (*where("{sku: 17}"), 16, 48, "bad-condition", 'quote it: "17"'),
    (*where("{sku: no}"), 16, 48, "bad-condition", 'quote it: "no"'),
    (*where("{sku: null}"), 16, 48, "wrong-type", "exists: false"),
    (*where("{sku: {in: a}}"), 16, 53, "wrong-type", "needs a list"),
    (*where("{sku: {in: [a, 3]}}"), 16, 57, "bad-condition", "quote it"),
    (*where("{sku: {gt: 3}}"), 16, 53, "bad-condition", "no order"),
    (*where("{price: {gt: a}}"), 16, 55, "wrong-type", "compares numbers"),
    (*where("{price: '3'}"), 16, 50, "bad-condition", "without quotes"),
    (*where("{price: {contains: 3}}"), 16, 61, "bad-condition", "neither a list nor a text"),
    (*where("{price: .nan}"), 16, 50, "wrong-type", "number"),
    (*where("{sku: {exists: 1}}"), 16, 57, "wrong-type", "true or false"),
    (*where("a"), 16, 42, "wrong-type", "mapping of conditions"),
    # paths
    (*where("{context.timezon: a}"), 16, 43, "unknown-field", "did you mean context.timezone?"),
    (*where("{contxt.url: a}"), 16, 43, "unknown-field", "did you mean context.url?"),
    (*where("{product.sku: a}"), 16, 43, "unknown-field", "did you mean products.sku?"),
    (*where("{products.skuu: a}"), 16, 43, "unknown-field", "did you mean products.sku?"),
    (*where("{consent: a}"), 16, 52, "bad-condition", "exists: true"),
    (*where("{context.campaign: a}"), 16, 61, "bad-condition", "exists: true"),
    (*where("{products.price: {gt: a}}"), 16, 64, "wrong-type", "compares numbers"),
    (*where("{products.price: cheap}"), 16, 59, "bad-condition", "'cheap' is a text"),
    # comparisons
    (*where("{price: '> 100'}"), 16, 50, "bad-condition", "write price: {gt: 100}"),
    (*where("{price: {not: '<= 100'}}"), 16, 56, "bad-condition", "write price: {gt: 100}"),
    (*where("{price: {'>': 100}}"), 16, 51, "unknown-operator", "did you mean gt?"),
    (*where("{sku: {startswith: a}}"), 16, 49, "unknown-operator", "did you mean starts_with?"),
    (*where("{price: {gt: 100, lt: 50}}"), 16, 50, "bad-condition", "nothing meets `gt` and `lt` (it can never hold)"),
    (*where("{price: {gt: 5, lte: 5}}"), 16, 50, "bad-condition", "it can never hold"),
    (*where("{price: {between: [10, 20], gt: 20}}"), 16, 50, "bad-condition", "it can never hold"),
    (*where("{price: {is: 5, gt: 10}}"), 16, 50, "bad-condition", "nothing meets `is` and `gt`"),
    (*where("{sku: {is: a, not: a}}"), 16, 48, "bad-condition", "nothing meets `is` and `not`"),
    (*where("{sku: {in: [a, b], starts_with: c}}"), 16, 48, "bad-condition", "nothing meets `in` and `starts_with`"),
    (*where("{sku: {exists: false, is: a}}"), 16, 48, "bad-condition", "what is missing meets no is"),
    (*where("{price: {between: [20, 10]}}"), 16, 60, "bad-value", "the lesser first"),
    (*where("{price: {between: 10}}"), 16, 60, "wrong-type", "two numbers or times"),
    (*where("{price: {between: [1, 2, 3]}}"), 16, 60, "wrong-type", "found 3"),
    (*where("{price: {between: [1, 2026-01-01]}}"), 16, 64, "wrong-type", "found a date"),
    (*where("{price: {before: 2026-01-01}}"), 16, 59, "bad-condition", "price is a number, and no time"),
    (*where("{sku: {before: soon}}"), 16, 57, "bad-value", "'soon' is no time"),
    (*where("{sku: {after: 1969-12-31}}"), 16, 56, "bad-value", "between the years 1995 and 9999"),
    (*where("{sku: {after: 2026-01-01}}"), 16, 56, "bad-condition", "sku is a text"),
    (*where("{sku: {contains: ''}}"), 16, 59, "bad-condition", "write {exists: true}"),
    (*where("{sku: {starts_with: 3}}"), 16, 62, "bad-condition", 'quote it: "3"'),
    (*where("{sku: {matches: '(a'}}"), 16, 58, "bad-condition", "no regular expression: missing"),
    (*where("{sku: {matches: '(?=a)'}}"), 16, 58, "bad-condition", "its syntax is RE2's"),
    (*where("{sku: {ignoring_case: true}}"), 16, 48, "bad-value", "no condition"),
    (*where("{price: {gt: 3, ignoring_case: true}}"), 16, 58, "no-effect", "remove ignoring_case"),
    (*where("{sku: {is: a, ignoring_case: 1}}"), 16, 71, "wrong-type", "true or false"),
    (*where("{price: yes}"), 16, 50, "bad-condition", "price is a number, yes is true or false"),
    (*where("{sku: 1.50}"), 16, 48, "bad-condition", 'quote it: "1.50"'),
    (*where("{price: 'abc'}"), 16, 50, "bad-condition", "'abc' is a text"),
    # flags
    (*where("{context.bot: 'true'}"), 16, 56, "bad-condition", "write it without quotes"),
    (*where("{context.bot: 1}"), 16, 56, "bad-condition", "write context.bot: true, or false"),
    (*where("{consent.marketing: given}"), 16, 62, "bad-condition", "write consent.marketing: true, or false"),
    (*where("{consent.marketing: {gt: 1}}"), 16, 67, "bad-condition", "write consent.marketing: true"),
    # what stands for a wait's
    (*where("{sku: key}"), 16, 48, "no-wait", "for the text itself write {in: [key]}"),
    (*where("{sku: {not: start.sku}}"), 16, 54, "no-wait", "here there is none"),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "code", "said"), CASES, ids=[f"{case[4]}: {case[1]}" for case in CASES]
)
def test_one_mistake(check: Check, old: str, new: str, line: int, column: int, code: str, said: str) -> None:
    assert BASE.count(old) == 1
    findings = check(BASE.replace(old, new))
    assert [(each.line, each.column, each.code) for each in findings] == [(line, column, code)], findings
    assert said in str(findings[0])


@pytest.mark.parametrize(
    "condition",
    [
        "{sku: a}",
        "{sku: {is: a, not: b}}",
        "{sku: {in: [a, b]}}",
        "{sku: {contains: a}}",
        "{price: 3}",
        "{price: {gt: 3, lte: 10.5}}",
        "{cart_id: {exists: false}, sku: '17'}",
        "{sku: {starts_with: a, ends_with: b, matches: '^a.*b$', ignoring_case: true}}",
        "{sku: {in: [key, start.sku]}}",
        "{price: {between: [10, 20], not: 15}}",
        "{context.url: {contains: /pricing}, context.bot: false, context.campaign.source: mail}",
        "{context.unproven: user_id, context.timezone: {starts_with: Europe/}}",
        "{consent.marketing: true, consent: {exists: true}}",
        "{products.sku: {not: a}, products.price: {gt: 10}, products: {exists: true}}",
        "{sku: {is: A, not: a}, name: {is: a, contains: A, ignoring_case: true}}",
    ],
)
def test_good_conditions(check: Check, condition: str) -> None:
    assert check(BASE.replace(*where(condition))) == []


def test_conditions_on_lists_choices_and_maps(check: Check) -> None:
    rule = """\
  mail:
    version: 1
    start: {event: email_sent, where: {link_ids: ebook, message_id: {not: x}}}
    after: 1h
    cancel:
      - {event: email_clicked, where: {confidence: machin}, reason: clicked}
      - {event: [email_opened, email_bounced], where: {confidence: human}, reason: opened}
      - {event: custom, where: {properties: {contains: a}}, reason: did}
      - {event: custom, where: {properties: {exists: true}}, reason: did}
"""
    found = [(each.line, each.code, each.message, each.hint) for each in check(BASE + rule)]
    assert found == [
        (24, "bad-condition", "confidence is never 'machin'", "did you mean machine?"),
        (
            25,
            "unknown-field",
            "email_bounced has no field confidence",
            "its fields that fit: message_id, campaign, kind, diagnostic",
        ),
        (26, "bad-condition", "properties holds many values: it can only be asked whether it is there", "exists: true"),
    ]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("{properties.plan: pro, properties.seats: {gte: 10}, properties.vip: true}", None),
        ("{properties.until: {after: 2026-01-01, before: '2026-02-01T12:00:00+01:00'}}", None),
        ("{properties.until: {between: [2026-01-01, 2026-02-01]}}", None),
        ("{properties.seats: '>= 10'}", "write properties.seats: {gte: 10}"),
        ("{properties.seats: {in: ['>= 10']}}", None),
        ("{properties.seats: {is: 5, lt: 5}}", "it can never hold"),
        ("{properties.until: {after: 2026-02-01, before: 2026-01-01}}", "it can never hold"),
        ("{properties.until: {between: [2026-02-01, 2026-01-01]}}", "the lesser first"),
        ("{properties.a: {contains: 5}}", 'quote it: "5"'),
        ("{plan: pro}", "did you mean properties.plan?"),
        ("{propertis.plan: pro}", "did you mean properties.plan?"),
        ("{traits.plan: pro}", "custom has no field traits.plan"),
        ("{properties.: pro}", "custom has no field properties."),
    ],
)
def test_what_stands_under_a_sender_s_names(check: Check, condition: str, said: str | None) -> None:
    rule = f"  own: {{version: 1, start: {{event: custom, where: {condition}}}, after: 1h}}\n"
    found = check(BASE + rule)
    assert [each.line for each in found] == ([] if said is None else [19])
    assert said is None or said in str(found[0])


@pytest.mark.parametrize(
    ("condition", "column", "said"),
    [
        ("{currency: start.currency}", 0, ""),
        ("{order_id: {not: key}, total: {gte: start.price}}", 0, ""),
        ("{products.product_id: start.product_id}", 0, ""),
        ("{total: {gte: start.sku}}", 59, "total is a number, start.sku is a text (for the text itself"),
        ("{currency: start.curency}", 56, "did you mean start.currency?"),
        ("{currency: start.products}", 56, "start.products holds many values"),
        ("{currency: {matches: start.currency}}", 0, ""),
        ("{currency: {matches: 'start.('}}", 66, "no regular expression"),
    ],
)
def test_a_cancel_may_compare_with_its_waits_start(check: Check, condition: str, column: int, said: str) -> None:
    found = check(BASE.replace("match: cart_id", f"where: {condition}, match: cart_id"))
    assert [(each.line, each.column) for each in found] == ([(18, column)] if column else [])
    assert not column or said in str(found[0])


MATCHES: list[tuple[str, int, str, str]] = [
    ("match: {cart_id: key}", 0, "", ""),
    ("match: {products.product_id: start.product_id}", 0, "", ""),
    ("match: {cart_id: key, currency: start.currency}, without_key: all", 0, "", ""),
    ("match: products.sku", 0, "", ""),
    ("match: {cart_id: key}, where: {order_id: {not: key}}", 0, "", ""),
    ("match: {}", 38, "missing-key", "at least one"),
    ("match: {cart_id: kye}", 55, "bad-value", "did you mean key?"),
    ("match: {cart_id: strat.cart_id}", 55, "bad-value", "did you mean start.cart_id?"),
    ("match: {cart_id: start.cart}", 55, "unknown-field", "did you mean start.cart_id?"),
    ("match: {cart: key}", 46, "unknown-field", "did you mean cart_id?"),
    ("match: {total: key}", 53, "bad-condition", "total is a number, key is a text"),
    ("match: {products: key}", 56, "bad-condition", "products holds many values"),
    ("match: product.sku", 45, "unknown-field", "did you mean products.sku?"),
    ("match: total", 45, "bad-key", "isn't a text"),
    ("match: [cart_id]", 45, "wrong-type", "a field of an event"),
    ("match: {currency: start.currency}, without_key: all", 73, "no-effect", "remove it"),
]


@pytest.mark.parametrize(("match", "column", "code", "said"), MATCHES)
def test_what_matches_what(check: Check, match: str, column: int, code: str, said: str) -> None:
    found = check(BASE.replace("match: cart_id", match))
    assert [(each.line, each.column, each.code) for each in found] == ([(18, column, code)] if column else []), found
    assert not column or said in str(found[0])


@pytest.mark.parametrize("match", ["match: {cart_id: key}", "where: {cart_id: key}", "where: {cart_id: {not: key}}"])
def test_where_nothing_tells_waits_apart_nothing_matches(check: Check, match: str) -> None:
    (found,) = check(BASE.replace("    per: cart_id\n", "").replace("match: cart_id", match))
    assert (found.line, found.code) == (17, "no-key")


@pytest.mark.parametrize(
    "match", ["match: products.sku", "match: {cart_id: key, currency: start.currency}", "where: {order_id: {not: key}}"]
)
def test_products_are_taken_by_one_key(check: Check, match: str) -> None:
    cart = BASE.replace("match: cart_id", f"{match}, takes: products") + "    payload: [cart]\n"
    assert [each.code for each in check(cart)] == ["conflict"]
    assert (
        check(BASE.replace("match: cart_id", "match: {cart_id: key}, takes: products") + "    payload: [cart]\n") == []
    )


@pytest.mark.parametrize(
    ("per", "code", "said"),
    [
        ("context.campaign.name", "", ""),
        ("products.sku", "", ""),
        ("context.unproven", "", ""),
        ("context.bot", "bad-key", "isn't a text"),
        ("products.price", "bad-key", "isn't a text"),
        ("products", "bad-key", "isn't a text"),
        ("consent.marketing", "bad-key", "isn't a text"),
        ("context.campaing.name", "unknown-field", "did you mean"),
        ("product.sku", "unknown-field", "did you mean products.sku?"),
        ("properties.plan", "unknown-field", "product_added has no field properties.plan"),
    ],
)
def test_what_may_tell_waits_apart(check: Check, per: str, code: str, said: str) -> None:
    found = check(BASE.replace("per: cart_id", f"per: {per}"))
    assert [(each.line, each.column, each.code) for each in found] == ([(15, 10, code)] if code else [])
    assert not code or said in str(found[0])


PAYLOADS: list[tuple[str, int, str, str]] = [
    ("{which: key, page: start.context.url, price: start.price, plan: trait.plan, all: cart}", 0, "", ""),
    ("{skus: start.products.sku, from: start.context.campaign.source}", 0, "", ""),
    ("{}", 0, "", ""),
    ("{worth: cart.total, in: cart.currency, n: cart.lines, pieces: cart.quantity}", 0, "", ""),
    ("{worth: cart.totl}", 22, "bad-value", "did you mean cart.total?"),
    ("{worth: cart.value}", 22, "bad-value", "did you mean cart.total?"),
    ("{items: cart.items}", 22, "bad-value", "did you mean cart.quantity?"),
    ("{n: cart.count}", 18, "bad-value", "did you mean cart.lines?"),
    ("{n: crat.lines}", 18, "bad-value", "did you mean cart.lines?"),
    ("{what: cart.colour}", 21, "bad-value", "there is cart.lines, cart.quantity, cart.total, cart.currency"),
    ("[cart.total]", 15, "bad-value", "single values have names"),
    ("{page: strat.context.url}", 21, "bad-value", "did you mean start.context.url?"),
    ("{page: context.url}", 21, "bad-value", "`start.` and a path of the start"),
    ("{page: start.context.ulr}", 21, "unknown-field", "did you mean start.context.url?"),
    ("{plan: start.traits.plan}", 21, "unknown-field", "no start has a field traits.plan"),
    ("{all: start.products}", 20, "bad-value", "write start.products.NAME"),
    ("{it: film}", 19, "bad-key", "write per: film"),
    ("{it: 7}", 19, "wrong-type", "there is cart, message, film, key"),
    ("{It: key}", 15, "bad-name", "lower-case"),
    ("[cart, key]", 21, "bad-value", "a part of the payload"),
    ("cart", 14, "wrong-type", "write [a, b]"),
]


@pytest.mark.parametrize(("payload", "column", "code", "said"), PAYLOADS)
def test_what_a_payload_may_name(check: Check, payload: str, column: int, code: str, said: str) -> None:
    found = check(BASE + f"    payload: {payload}\n")
    assert [(each.line, each.column, each.code) for each in found] == ([(19, column, code)] if column else []), found
    assert not column or said in str(found[0])


def test_a_value_of_a_cart_is_told_of_one(check: Check) -> None:
    text = BASE.replace("    per: cart_id\n", "    per: product_id\n").replace("match: cart_id, ", "")
    (found,) = check(text + "    payload: {worth: cart.total}\n")
    assert (found.code, found.hint) == ("bad-key", "write per: cart_id")
    (found,) = check(BASE + "    once: true\n    payload: {worth: cart.total}\n")
    assert (found.code, found.message) == ("conflict", "a key that starts once has no cart")


def test_a_payload_tells_no_key_where_there_is_none(check: Check) -> None:
    text = BASE.replace("    per: cart_id\n", "").replace("match: cart_id, ", "") + "    payload: {which: key}\n"
    assert [(each.line, each.column, each.code) for each in check(text)] == [(18, 22, "no-key")]


def test_no_hint_is_refused_in_its_turn(check: Check) -> None:
    """What is suggested for a name that isn't there is there, and takes what is asked."""
    for condition in (
        "prise: abc",
        "prise: 5",
        "curency: EUR",
        "context.bott: true",
        "quantty: {gt: 3}",
        "tot: {gt: 3}",
    ):
        name, _, rest = condition.partition(": ")
        (found,) = check(BASE.replace(*where(f"{{{condition}}}")))
        if "did you mean" in found.hint:
            better = found.hint.removeprefix("did you mean ").removesuffix("?")
            assert check(BASE.replace(*where(f"{{{better}: {rest}}}"))) == [], (name, better)


def test_a_share_needs_a_film(check: Check) -> None:
    rule = "  half: {version: 1, per: title, start: {watched_share: 0.5, where: {title: a}}, after: 1h}\n"
    assert [(each.line, each.column, each.code) for each in check(BASE + rule)] == [
        (19, 22, "bad-key"),
        (19, 62, "conflict"),
    ]
    both = "  half: {version: 1, per: film, start: {watched_share: 0.5, event: video_paused}, after: 1h}\n"
    assert [each.code for each in check(BASE + both)] == ["conflict"]


def test_a_key_that_starts_once_has_no_cart(check: Check) -> None:
    more = "    once: true\n    until: {cart: empty, reason: emptied}\n    payload: [cart]\n"
    assert [(each.line, each.code) for each in check(BASE + more)] == [(20, "conflict"), (21, "conflict")]


def test_left_out_is_always_told(check: Check) -> None:
    found = check(BASE + "left_out: [events.email-3, events.email-4]\n")
    assert [(each.severity, each.code) for each in found] == [
        ("warning", "left-out"),
        ("error", "bad-value"),
    ]


def test_all_findings_in_one_pass_in_the_files_order(check: Check) -> None:
    text = BASE
    for old, new in [
        ("kafka: k:9092", "kafka: mock://"),
        ("partitions: 4", "partitons: 4"),
        ("priority: 2", "priority: 1"),
        ("product_added", "product_aded"),
        ("after: 1h", "after: 1"),
        ("match: cart_id", "match: cartid"),
    ]:
        text = text.replace(old, new)
    found = check(text, {"PIPELINE_GROUP": "not so"})
    assert [(each.line, each.severity, each.code) for each in found] == [
        (0, "error", "bad-environment"),
        (1, "warning", "embedded-kafka"),
        (7, "error", "unknown-key"),
        (11, "error", "duplicate-priority"),
        (16, "error", "unknown-event"),
        (17, "error", "bad-duration"),
        (18, "error", "unknown-field"),
    ]


def test_a_finding_reads_like_a_compilers(check: Check) -> None:
    (finding,) = check(BASE.replace("after: 1h", "aftr: 1h\n    after: 1h"))
    assert str(finding) == f"{finding.file}:17:5: error unknown-key: unknown key aftr (did you mean after?)"


def test_files_that_are_no_topology(tmp_path: Path) -> None:
    def codes(data: bytes) -> list[str]:
        path = tmp_path / "t.yaml"
        path.write_bytes(data)
        return [finding.code for finding in lint(path, {})]

    assert codes(b"") == ["empty"]
    assert codes(b"# nothing\n") == ["empty"]
    assert codes(b"\xff\xfe\x00") == ["no-file"]
    assert codes(b"a: \x00") == ["yaml-syntax"]
    assert codes(b"- a\n- b\n") == ["wrong-type"]
    assert codes(b"just words") == ["wrong-type"]
    assert codes(b"a: 1\n---\nb: 2\n") == ["yaml-syntax"]
    assert codes(b"a: \t- x") == ["yaml-syntax"]
    assert "recursive-alias" in codes(b"topics: &a {sources: *a}\n")
    assert "wrong-type" in codes(b"group: !!python/object:os.system x\n")
    assert "bad-duration" in codes(b"time: {lateness: 2026-99-99}\n")
    assert [finding.code for finding in lint(tmp_path / "none.yaml", {})] == ["no-file"]
    assert [finding.code for finding in lint(tmp_path, {})] == ["no-file"]


def test_aliases_are_fine(check: Check) -> None:
    text = BASE.replace("{partitions: 4}", "&small {partitions: 2}\n    events.video: *small")
    assert check(text) == []


def test_no_damage_makes_it_raise(check: Check) -> None:
    """Whatever is cut out of a good file or put into it: findings inside of the file, never an exception."""
    shipped = (Path(__file__).parents[2] / "topology.yaml").read_text(encoding="utf-8")
    text = "\n".join(line for line in shipped.splitlines() if not line.lstrip().startswith("#"))
    random_ = random.Random(3)
    pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        "\n",
        "  ",
        "'",
        "&a ",
        "*a",
        "null",
        "1",
        "0.5",
        "yes",
        "1h",
        "!!set ",
        "?",
    ]
    seen = set()
    for _ in range(250):
        at = random_.randrange(len(text))
        damaged = text[:at] + random_.choice([random_.choice(pieces), ""]) + text[at + random_.choice([0, 1, 4, 40]) :]
        for finding in check(damaged):
            seen.add(finding.code)
            assert 1 <= finding.line <= damaged.count("\n") + 2
            assert finding.column >= 1
            assert finding.message
    assert len(seen) > 8, "the damage was too small to find much"


@pytest.mark.parametrize(
    "line, address, column",
    [
        (2, "redis: redis://:${REDIS_PASSWORD}@r:6379/0", 8),
        (2, "redis: redis://r:6379/0?password=${REDIS_PASSWORD:-none}", 8),
        (3, "registry: https://u:$(PASSWORD)@s:8081", 11),
        (3, "registry: https://{{.Values.registry}}", 11),
    ],
)
def test_what_nothing_has_put_in_is_found(check: Check, line: int, address: str, column: int) -> None:
    (finding,) = check("\n".join([*LINES[: line - 1], address, *LINES[line:]]) + "\n")
    assert (finding.line, finding.column, finding.severity) == (line, column, "error")
    assert finding.code == "not-substituted"
    assert f"PIPELINE_{address.partition(':')[0].upper()}" in finding.hint


def test_nor_in_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(BASE, encoding="utf-8")
    (finding,) = lint(path, {"PIPELINE_REDIS": "redis://:${REDIS_PASSWORD}@r:6379/0"})
    assert (finding.file, finding.code) == ("environment", "not-substituted")
    assert lint(path, {"PIPELINE_REDIS": "redis://:a$word%7B@r:6379/0"}) == []

"""Identifiers as they are told, and the one form in which they identify."""

from __future__ import annotations

import pytest

from pipeline.identity.identifiers import Normaliser
from pipeline.topology.model import Identifiers, Namespace

NAMESPACES = tuple(
    Namespace(name=name, priority=priority, lowercase=name == "email")
    for priority, name in enumerate(("user_id", "crm_id", "email", "device_id", "anonymous_id"), 1)
)
NORMALISER = Normaliser(Identifiers(namespaces=NAMESPACES, blocked=frozenset({"", "tester", "info@example.org"})))
UUID = "9f1c2e00-0a1b-4c2d-8e3f-001122aabbcc"


@pytest.mark.parametrize(
    "told",
    [
        "anna@example.org", " anna@example.org\n", "Anna@Example.ORG", "<anna@example.org>", '"anna@example.org"',
        "'anna@example.org'", "%22anna@example.org%22", "mailto:anna@example.org", "MAILTO:anna@example.org?subject=Hi",
        "Anna Berg <anna@example.org>", '"Berg, Anna" <anna@example.org>', "Berg, Anna <mailto:anna@example.org>",
        "anna@example.org (Anna Berg)", "anna@example.org.", "an\u200bna@example.org", "\ufeffanna@example.org",
        "anna@exam\u00adple.org", "anna\ufe0f@example.org", "an\u034f\x01na@\u2064example.org",
        "\u202aanna@example.org\u202c", '"anna"@example.org', "anna@example.org\u00a0",
        '"Anna <anna@example.org>"', "<mailto:Anna@example.org?cc=x@y.z>",
    ],
)  # fmt: skip
def test_forms_of_one_address(told: str) -> None:
    assert NORMALISER.value("email", told) == "anna@example.org"


@pytest.mark.parametrize(
    ("told", "form"),
    [
        ("anna@b\u00fccher.example", "anna@xn--bcher-kva.example"),
        ("anna@bu\u0308cher.example", "anna@xn--bcher-kva.example"),
        ("anna@B\u00dcCHER.example", "anna@xn--bcher-kva.example"),
        ("anna@XN--BCHER-KVA.example", "anna@xn--bcher-kva.example"),
        ("anna@b\u00fccher\u3002example.", "anna@xn--bcher-kva.example"),
        ("ren\u00e9@example.org", "ren\u00e9@example.org"),
        ("rene\u0301@example.org", "ren\u00e9@example.org"),
        ("REN\u00c9@example.org", "ren\u00e9@example.org"),
        ("anna+news@example.org", "anna+news@example.org"),
        ("a.n.n.a@example.org", "a.n.n.a@example.org"),
        ("anna@localhost", "anna@localhost"),
        ("anna@\U0001f4a9..", "anna@\U0001f4a9"),
        ("Anna", "anna"),
        (" ANNA ", "anna"),
    ],
)
def test_addresses_that_compare(told: str, form: str) -> None:
    assert NORMALISER.value("email", told) == form


@pytest.mark.parametrize("namespace", [n.name for n in NAMESPACES])
@pytest.mark.parametrize(
    "told",
    [
        "", " ", "-1", "0", "null", "NULL", "None", "undefined", "anonymous", "unknown", "NaN", "n/a", "false", "true",
        "Guest", "nil", "[object Object]", '"null"', "'undefined'", "%22null%22", ' "null" ', '"', "%22", "\u200b",
        "00000000-0000-0000-0000-000000000000", "Tester", '"tester"',
    ],
)  # fmt: skip
def test_what_stands_for_nobody(namespace: str, told: str) -> None:
    assert NORMALISER.value(namespace, told) is None


def test_blocked_addresses() -> None:
    for told in ("info@example.org", "Info <info@EXAMPLE.org>"):
        assert NORMALISER.value("email", told) is None
        assert NORMALISER.value("user_id", told.rpartition(" ")[2]) is None


@pytest.mark.parametrize("told", [UUID, UUID.upper(), f'"{UUID.upper()}"', f"%22{UUID}%22", f" {UUID} "])
def test_uuids_compare_in_lower_case(told: str) -> None:
    for namespace in ("user_id", "anonymous_id", "device_id", "crm_id"):
        assert NORMALISER.value(namespace, told) == UUID


@pytest.mark.parametrize("told", ["Ab", UUID.upper() + "A", "Anna Berg", "9F1C2E"])
def test_other_ids_keep_their_case(told: str) -> None:
    assert NORMALISER.value("user_id", told) == told
    assert NORMALISER.value("anonymous_id", told) == told


def test_a_namespace_that_nobody_knows_identifies_nobody() -> None:
    assert NORMALISER.value("passport", "x") is None


@pytest.mark.parametrize(
    ("told", "value", "implied"),
    [
        ("Anna@Example.org", "anna@example.org", True),
        ("mailto:anna@example.org", "anna@example.org", True),
        ("anna@b\u00fccher.example", "anna@xn--bcher-kva.example", True),
        ("<Anna@example.org>", "anna@example.org", True),
        ("u-1", "u-1", False),
        ("@Anna", "@Anna", False),
        ("Anna@localhost", "Anna@localhost", False),
        ("Anna@x@example.org", "Anna@x@example.org", False),
        ("auth0|Anna@example.org", "auth0|Anna@example.org", False),
        ("@Anna:example.org", "@Anna:example.org", False),
        ("Anna B@example.org", "Anna B@example.org", False),
    ],
)
def test_a_user_id_that_is_an_address(told: str, value: str, implied: bool) -> None:
    assert NORMALISER.value("user_id", told) == value
    assert NORMALISER.implied("user_id", value) == (("email", value) if implied else None)


def test_nothing_else_implies_an_address() -> None:
    assert NORMALISER.implied("anonymous_id", "anna@example.org") is None
    assert NORMALISER.implied("email", "anna@example.org") is None
    without = Normaliser(Identifiers(namespaces=NAMESPACES[:2], blocked=frozenset()))
    assert without.value("user_id", "Anna@example.org") == "anna@example.org"
    assert without.implied("user_id", "anna@example.org") is None

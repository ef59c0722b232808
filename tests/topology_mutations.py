"""Whole topologies with something wrong in them: topology.yaml and all that it includes, as values and as text."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.whole import SHIPPED, document

Place = tuple[Any, Any]
"""A mapping or list, and the key or index in it."""

ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        0.5,
        1e300,
        float("nan"),
        float("inf"),
        -(2**70),
        10**400,
        "",
        " ",
        "\t",
        "x" * 3_000,
    ),
    *(
        "0s",
        "-1h",
        "1",
        "1x",
        "1 h",
        "999999999999999999999d",
        "1e9d",
        "١h",
        "30d5h",
        "every day",
        "09:00",
        "25:99",
        "9:0",
    ),
    *(
        "é",
        "ß",
        "\u202e",
        "\ud83d\ude00",
        "a\u0000b",
        "\ufeff",
        "\u2028",
        "𝟙h",
        "start.",
        "start.x.y.z",
        "key",
        "trait.",
    ),
    *(
        "a.b.c.d.e.f",
        "..",
        ".",
        "products",
        "products.",
        "properties.",
        "any",
        "null",
        "~",
        "*x",
        "&x",
        "!!python/name:os",
    ),
    *("(", "[a-", "(?=x)", "a{1,99999}", "2026-02-30", "99999-01-01", "1970", "Mars/Olympus", "<<", "=", "@", "%", "`"),
    *([], {}, [None], [[]], {"a": {}}, {"": 1}, {"event": "any"}, ["x", "x"], {"gte": "x"}, {"is": None}, {1: 2}),
]
"""What stands where something else is wanted."""


def places(told: Any) -> Iterator[Place]:
    """Every place in a document."""
    inner: list[Any] = [*told] if isinstance(told, dict) else [*range(len(told))] if isinstance(told, list) else []
    for key in inner:
        yield told, key
        yield from places(told[key])


def drop(r: Random, told: Any) -> None:
    """Something is missing."""
    inside, key = r.choice([*places(told)])
    del inside[key]


def rename(r: Random, told: Any) -> None:
    """A key is misspelt, or another's."""
    inside, key = r.choice([place for place in places(told) if isinstance(place[0], dict)])
    others = [name for within, name in places(told) if isinstance(within, dict)]
    letters = [*str(key)]
    r.shuffle(letters)
    named = r.choice([r.choice(others), "".join(letters), f"{key}x", str(key)[1:], str(key).upper(), 7, None, True])
    inside[named] = inside.pop(key)


def retype(r: Random, told: Any) -> None:
    """Something else stands there."""
    inside, key = r.choice([*places(told)])
    inside[key] = copy.deepcopy(r.choice(ODD))


def swap(r: Random, told: Any) -> None:
    """Two values stand in each other's places."""
    (one, a), (other, b) = r.choice([*places(told)]), r.choice([*places(told)])
    one[a], other[b] = copy.deepcopy(other[b]), copy.deepcopy(one[a])


def nest(r: Random, told: Any) -> None:
    """A value stands deeper than it should, or not as deep."""
    inside, key = r.choice([*places(told)])
    value = inside[key]
    if r.random() < 0.5 and isinstance(value, dict | list) and value:
        inside[key] = r.choice([*(value.values() if isinstance(value, dict) else value)])
        return
    for _ in range(r.choice([1, 1, 2, 40, 90])):
        value = r.choice([[value], {str(key): value}, {"all": [value]}, {"none": [value]}])
    inside[key] = value


def multiply(r: Random, told: Any) -> None:
    """A list is long, or a number or a text large."""
    inside, key = r.choice([*places(told)])
    value = inside[key]
    if isinstance(value, list):
        inside[key] = value * r.choice([2, 100])
    elif isinstance(value, bool) or not isinstance(value, int | float | str):
        inside[key] = [value, copy.deepcopy(value)]
    else:
        inside[key] = (
            value * r.choice([-1, 0, 3, 1000, 2**40]) if not isinstance(value, str) else value * r.choice([0, 2, 500])
        )


def graft(r: Random, told: Any) -> None:
    """A key with its value where another has one: what doesn't fit together."""
    inside, key = r.choice([place for place in places(told) if isinstance(place[0], dict)])
    into = r.choice([place[0] for place in places(told) if isinstance(place[0], dict)])
    into[key] = copy.deepcopy(inside[key])


def refer(r: Random, told: Any) -> None:
    """A name of something that isn't there, or of itself."""
    names = [*told.get("triggers", {}), *told.get("segments", {}), *told.get("measures", {}), "nobody"]
    inside, key = r.choice([place for place in places(told) if isinstance(place[0][place[1]], str)])
    inside[key] = r.choice(names)


def tune(r: Random, told: Any) -> None:
    """A value is another one of its kind: that may well load."""
    events = ["page_viewed", "product_added", "order_completed", "email_clicked", "custom", "video_progressed", "any"]
    every = [place for section in ("triggers", "segments", "measures") for place in places(told.get(section, {}))]
    tuned = [place for place in every if isinstance(place[0][place[1]], str | int | float)]
    if not tuned:
        return
    inside, key = r.choice(tuned)
    value = inside[key]
    if isinstance(value, bool):
        inside[key] = not value
    elif isinstance(value, int | float):
        inside[key] = r.choice([1, 2, 10, 0.5, 1_000_000])
    elif re.fullmatch(r"\d+[a-z]+", value):
        inside[key] = r.choice(["1ms", "1s", "59m", "1h", "36h", "3d", "2w", "89d", "400d"])
    elif value in events:
        inside[key] = r.choice(events)
    else:
        inside[key] = r.choice([value.upper(), value + "é", f" {value} ", value[:1]])


VALUES: list[Callable[[Random, Any], None]] = [
    drop,
    rename,
    retype,
    retype,
    swap,
    nest,
    multiply,
    graft,
    graft,
    refer,
    *[tune] * 6,
]


def indent(r: Random, lines: list[str]) -> None:
    """A line stands too far right or left."""
    place = r.randrange(len(lines))
    lines[place] = r.choice([" ", "  ", "\t", "       "]) + lines[place] if r.random() < 0.6 else lines[place].lstrip()


def double(r: Random, lines: list[str]) -> None:
    """Lines are there twice."""
    start = r.randrange(len(lines))
    some = lines[start : start + r.choice([1, 1, 3, 20])]
    place = r.choice([start, r.randrange(len(lines))])
    lines[place:place] = some


def lose(r: Random, lines: list[str]) -> None:
    """Lines are lost; or all from there on."""
    start = r.randrange(len(lines))
    del lines[start : start + r.choice([1, 1, 2, 5, len(lines)])]


def break_(r: Random, lines: list[str]) -> None:
    """A sign is lost, or one too many."""
    place = r.randrange(len(lines))
    line = lines[place]
    at = r.randrange(len(line) + 1)
    sign = r.choice([*"{}[]:,-#&*!|>'\"%@`?\t", ": ", "- ", "<<: *x", "&a ", "\u0085", "\x07", "\ufffe", "\ud7ff", "é"])
    lines[place] = line[:at] + sign + line[at:] if r.random() < 0.7 else line[:at] + line[at + 1 :]


def mix(r: Random, lines: list[str]) -> None:
    """Two lines stand in each other's places."""
    one, other = r.randrange(len(lines)), r.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


TEXT: list[Callable[[Random, list[str]], None]] = [indent, double, lose, break_, break_, mix]


def mutated(seed: int, folder: Path) -> Path:
    """Writes a mutated topology, with its own included files, into a folder; returns its path."""
    r = Random(f"topology {seed}")
    shipped = {path.relative_to(SHIPPED.parent): path.read_text(encoding="utf-8") for path in files()}
    path = folder / SHIPPED.name
    if r.random() < 0.6:
        whole = copy.deepcopy(_whole())
        for _ in range(r.choice([1, 1, 1, 2, 3])):
            r.choice(VALUES)(r, whole)
        text = yaml.dump(whole, sort_keys=False, allow_unicode=r.random() < 0.5, width=r.choice([80, 4_000]))
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return path
    name = r.choice([*shipped])
    lines = shipped[name].split("\n")
    if name.name != SHIPPED.name:
        lines = [line for line in lines if "enabled: false" not in line]
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        r.choice(TEXT)(r, lines)
        lines = lines or [""]
    shipped[name] = "\n".join(lines)
    for each, text in shipped.items():
        (folder / each).parent.mkdir(exist_ok=True)
        (folder / each).write_text(text, encoding="utf-8")
    if r.random() < 0.03:
        (folder / name).write_bytes(shipped[name].encode("utf-16"))
    return path


@cache
def _whole() -> Any:
    return document()


@cache
def files() -> list[Path]:
    """topology.yaml and the files that it includes."""
    told = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    return [SHIPPED, *(SHIPPED.parent / name for name in told["include"])]

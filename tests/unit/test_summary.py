"""What is said about recorded files: short, whatever is in them."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from pipeline.cli import cli
from pipeline.commands.reading import Bar
from pipeline.commands.summary import KINDS, Summary, looks_like
from pipeline.errors import InvalidEvent
from pipeline.events.files import FileLine, RecordedFile, read
from pipeline.events.model import Event, Remark

TOPOLOGY = Path(__file__).parents[2] / "topology.yaml"


def replay(*args: object) -> Result:
    return CliRunner().invoke(cli, ["replay", "--topology", str(TOPOLOGY), *map(str, args)])


def summary(terminal: bool = False) -> tuple[Summary, io.StringIO]:
    out = io.StringIO()
    return Summary(10_000, Console(file=out, force_terminal=terminal, width=200, soft_wrap=True)), out


def line(number: int, received: int = 0, *remarks: Remark) -> FileLine:
    return FileLine("f", number, b"", Event("custom", "e", received, received, {}, {}, remarks=remarks))


def added(number: int, minute: int, **parts: Any) -> str:
    stamp = f"2025-11-24T{12 + minute // 60:02d}:{minute % 60:02d}:00Z"
    obj = {"type": "track", "event": "Product Added", "messageId": f"m{number}", "userId": f"u{number}"}
    return json.dumps({**obj, "timestamp": stamp, "properties": {"product_id": "p"}, **parts})


def test_a_wrong_file_is_a_handful_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("".join(f"{n},anna,2025\n" for n in range(5_000)), "utf-8")
    result = replay(path)
    said = result.stderr.splitlines()
    assert result.exit_code == 1
    assert len(said) == 3
    assert said[0] == f"{path} holds CSV, not recorded events, by its first lines. It is read on."
    assert said[1].startswith(f"{path}:1: invalid_json: ")
    assert said[1].endswith(f"(5,000 times; also {path}:2, {path}:3, …)")
    assert said[2] == "0 events from 1 file, 5,000 bad lines; 0 decisions"


@pytest.mark.parametrize(
    "content, name",
    [
        (b"<!DOCTYPE html>\n<html>\n<head>\n", "HTML"),
        (b"<?xml version='1.0'?>\n<a>\n", "XML or HTML"),
        (b"a;b;c\n1;2;3\n4;5;6\n", "CSV"),
        (b"a\tb\n1\t2\n4\t5\n", "a table with tabs"),
        (b'{"a": 1}\n{"b": 2}\n{"c": 3}', "JSON of another kind"),
        (random.Random(1).randbytes(4000), "binary data"),
        (b"Dear all,\nhello\nbye\n", "something else"),
    ],
)
def test_what_a_file_looks_like(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / "f").write_bytes(content)
    assert looks_like([line.raw for line in read(tmp_path / "f")][:3]) == name
    assert f"holds {name}, not recorded events" in replay(tmp_path / "f").stderr


def test_a_bad_line_in_a_good_file_is_no_other_kind(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("\n".join([added(1, 1), "1,2", "3,4", "5,6"]), "utf-8")
    assert "holds" not in replay(path).stderr


def test_remarks_are_grouped(tmp_path: Path) -> None:
    told, out = summary()
    often, seldom = Remark("read_as", "one"), Remark("misspelt", "two")
    for number in range(1, 2001):
        told.event(line(number, 0, *([often, seldom] if number == 7 else [often])))
    told.tell()
    assert out.getvalue().splitlines() == [
        "read as: one (2,000 times, first f:1)",
        "misspelt: two (once, first f:7)",
    ]


def test_remarks_without_end_take_no_memory_and_few_lines() -> None:
    told, out = summary()
    for number in range(KINDS + 500):
        told.event(line(number, 0, Remark("misspelt", str(number))))
    told.tell()
    said = out.getvalue().splitlines()
    assert len(said) == 21
    assert said[-1] == "and 9,980 other remarks of such kinds, 10,480 times"


def test_on_a_terminal_the_first_lines_are_named_as_they_occur() -> None:
    told, out = summary(terminal=True)
    for number in range(1, 100):
        told.refuse(line(number), InvalidEvent("no_identifier", "nobody"))
    assert out.getvalue().count("no_identifier") == 5


@pytest.mark.parametrize("packed", [False, True])
def test_out_of_order_is_said_and_sort_mends_it(tmp_path: Path, packed: bool) -> None:
    minutes = list(range(0, 400, 7))
    lines = [added(n, minute) for n, minute in enumerate(minutes)]
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("\n".join(lines), "utf-8")
    text = "\n".join(["{", *reversed(lines)]).encode()
    wrong.write_bytes(gzip.compress(text) if packed else text)
    said = replay(wrong).stderr
    assert f"out of order: {len(lines) - 1} of {len(lines)} events" in said
    assert re.search(r"the worst by 6\.65 h, first \S+:3\)", said)
    assert "--sort" in said
    mended = replay(wrong, "--sort")
    assert mended.stdout == replay(right).stdout
    assert mended.stderr.count("invalid_json") == 1
    assert "out of order" not in mended.stderr


def test_little_disorder_is_none() -> None:
    told, out = summary()
    for number, at in enumerate((50_000, 40_000, 50_001, 40_001)):
        told.event(line(number, at))
    told.tell()
    assert out.getvalue() == ""
    told.event(line(9, 40_000))
    told.tell()
    assert "1 of 5 events (20.0%)" in out.getvalue()


def test_the_bar_tells_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(b"\n".join(added(n, n).encode() for n in range(50))))
    recording = RecordedFile(tmp_path / "f.gz")
    told, out = summary(terminal=True)
    with Bar("replaying", [recording], told, told._console) as bar:
        for found in read(recording):
            told.event(found)
        bar.refresh()
        assert "50 events" in bar.words()
        assert "up to 2025-11-24 12:49" in bar.words()
        assert bar.tasks[0].percentage == 100
    assert "replaying" in out.getvalue()


def test_no_bar_without_a_terminal() -> None:
    told, out = summary()
    with Bar("replaying", [], told, told._console):
        pass
    assert out.getvalue() == ""

"""Recordings in the order of receipt: the same as sorting them in memory, and nothing stays behind."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.runtime.recordings import in_order
from pipeline.runtime.sorting import Sorted


@given(
    values=st.lists(st.tuples(st.integers(-5, 5) | st.integers(-(2**62), 2**62), st.binary(max_size=50)), max_size=60),
    memory=st.sampled_from([0, 500, 5000, 1 << 20]),
)
def test_sorted_is_sorted_and_stable(values: list[tuple[int, bytes]], memory: int) -> None:
    with Sorted(memory) as run:
        for number, (at, value) in enumerate(values):
            run.add(at, (at, number, value))
        found = list(run)
    assert found == sorted((at, number, value) for number, (at, value) in enumerate(values))


def test_a_value_may_be_larger_than_what_is_read_at_once() -> None:
    with Sorted(1000) as run:
        for at in (3, 1, 2):
            run.add(at, bytes(300_000 * at))
        assert [len(value) for value in run] == [300_000, 600_000, 900_000]


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError), Sorted(0) as run:
        run.add(1, "a")
        run.add(2, "b")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(PipelineError, match="TMPDIR"), Sorted(0) as run:
        run.add(1, "a")


def record(path: Path, *seconds: int | str) -> Path:
    lines = (
        json.dumps({"type": "page", "userId": path.stem, "timestamp": f"2025-11-24T12:00:{second:02d}Z"})
        if isinstance(second, int)
        else second
        for second in seconds
    )
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_files_in_the_order_of_receipt(tmp_path: Path, memory: int) -> None:
    a, b = record(tmp_path / "a", 5, 1, 9, "{", 1), record(tmp_path / "b", 9, 3, 1)
    found = [f"{Path(line.file).stem}{line.number}" for line in in_order([a, b], memory)]
    assert found == ["a4", "a2", "a5", "b3", "b2", "a1", "a3", "b1"]
    assert len({line.raw for line in in_order([a, b], memory)}) == 7


def test_a_file_that_goes_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"gone\.jsonl can't be read: No such file"):
        list(in_order([tmp_path / "gone.jsonl"]))

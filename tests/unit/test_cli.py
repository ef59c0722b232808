"""Commands that need no server: what they print, where, and how they end."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli import COMMANDS, cli
from pipeline.commands.topics import duration
from pipeline.events import schemas
from pipeline.events.model import NOW
from pipeline.topology import load
from pipeline.topology.addresses import shown

ROOT = Path(__file__).parents[2]
TOPOLOGY = ROOT / "topology.yaml"

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A command, called in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PIPELINE_")]:
        monkeypatch.delenv(name)
    return lambda *args: CliRunner().invoke(cli, [str(arg) for arg in args])


def at(minute: int) -> str:
    """A moment, minutes after noon."""
    return f"2025-11-24T{12 + minute // 60:02d}:{minute % 60:02d}:00.000Z"


def track(name: str, number: str, minute: int, user: str = "anna", **properties: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": name,
        "messageId": number,
        "userId": user,
        "properties": properties,
        "timestamp": at(minute),
    }


def write(path: Path, *lines: object) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def decisions(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


LEFT = track("Product Added", "add-1", 0, product_id="tent", price=199.5, currency="EUR", quantity=2, cart_id="c1")
BOUGHT = [
    track("Product Added", "add-2", 10, "bert", product_id="mug", cart_id="c2"),
    track("Order Completed", "order-2", 30, "bert", cart_id="c2"),
]
SENT = track("Email Sent", "sent-1", 5, message_id="mail-1", campaign="guide", link_ids=["ebook"])


# --- help


def test_help_names_every_command_with_its_purpose(run: Run) -> None:
    shown = " ".join(run("--help").stdout.split())
    for name, purpose in COMMANDS.items():
        assert f"{name} {purpose}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_an_example(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"pipeline {name}" in result.stdout.partition("Example")[2]


def test_a_mistyped_command_is_told_what_was_meant(run: Run) -> None:
    result = run("repaly", "x")
    assert result.exit_code == 2
    assert "did you mean replay?" in result.stderr


def test_every_command_is_one(run: Run) -> None:
    context = click.Context(cli)
    assert all(cli.get_command(context, name) is not None for name in COMMANDS)


# --- lint


def test_lint_of_the_packaged_topology_finds_nothing(run: Run) -> None:
    result = run("lint")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing to find fault with" in result.stderr


def test_lint_prefers_the_topology_in_the_working_directory(run: Run, tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY.read_text("utf-8").replace("after: 24h", "afer: 24h"), "utf-8")
    result = run("lint")
    assert result.exit_code == 1
    line = next(n for n, text in enumerate(TOPOLOGY.read_text("utf-8").splitlines(), 1) if "after: 24h" in text)
    assert f"topology.yaml:{line}:5: error " in result.stdout
    assert "did you mean after?" in result.stdout
    assert "error" in result.stderr


def test_lint_of_a_file_that_is_not_there(run: Run) -> None:
    result = run("lint", "elsewhere.yaml")
    assert result.exit_code == 1
    assert "elsewhere.yaml:0:0: error no-file" in result.stdout or "no-file" in result.stdout


def test_lint_sees_a_bad_address_in_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_HTTP_PORT", "http")
    result = run("lint", TOPOLOGY)
    assert result.exit_code == 1
    assert "PIPELINE_HTTP_PORT" in result.stdout


# --- replay


def test_replay_prints_one_decision_a_line(run: Run, tmp_path: Path) -> None:
    result = run("replay", write(tmp_path / "in.jsonl", LEFT, *BOUGHT))
    assert result.exit_code == 0
    fired, cancelled = sorted(decisions(result), key=lambda d: d["outcome"] != "fired")
    assert fired["rule"] == "abandoned_cart"
    assert (fired["outcome"], fired["reason"]) == ("fired", "due")
    assert fired["identifiers"] == {"user_id": ["anna"]}
    assert (fired["correlation_key"], fired["cause_event_id"]) == ("c1", "add-1")
    assert (fired["occurred_at"], fired["due_at"], fired["decided_at"]) == (at(0), at(60), at(65))
    assert fired["payload"]["lines"] == [
        {"product": "tent", "quantity": 2, "price": 199.5, "currency": "EUR", "total": 399}
    ]
    assert (cancelled["outcome"], cancelled["reason"], cancelled["ended_by"]) == ("cancelled", "bought", "order-2")
    assert "3 events from 1 file; 2 decisions: 1 cancelled, 1 fired" in result.stderr


def test_replay_names_bad_lines_and_goes_on(run: Run, tmp_path: Path) -> None:
    nobody = {**LEFT, "messageId": "x", "userId": "null"}
    early = {**LEFT, "messageId": "y", "timestamp": "2999-01-01T00:00:00Z"}
    result = run("replay", write(tmp_path / "in.jsonl", "{", LEFT, nobody, "[1]", early))
    assert result.exit_code == 0
    first, second = decisions(result)
    assert (first["outcome"], second["outcome"]) == ("fired", "fired")
    now = datetime.now(UTC).isoformat()
    assert first["occurred_at"] < second["occurred_at"] <= now  # what was told as of 2999 counts as of now
    said = result.stderr.splitlines()
    path = tmp_path / "in.jsonl"
    for line, reason in ((1, "invalid_json"), (3, "no_identifier"), (4, "invalid_shape")):
        assert any(text.startswith(f"{path}:{line}: {reason}: ") for text in said)
    assert f"read as: {NOW.detail} (once, first {path}:5)" in said
    assert "2 events from 1 file, 3 bad lines; 2 decisions: 2 fired" in said[-1]


def test_replay_fails_when_nothing_could_be_read(run: Run, tmp_path: Path) -> None:
    result = run("replay", write(tmp_path / "in.jsonl", "{", "no"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "0 events from 1 file, 2 bad lines" in result.stderr


def test_replay_of_an_empty_file_is_no_failure(run: Run, tmp_path: Path) -> None:
    result = run("replay", write(tmp_path / "in.jsonl"))
    assert (result.exit_code, result.stdout) == (0, "")


def test_replay_of_a_file_that_is_not_there(run: Run) -> None:
    result = run("replay", "nowhere.jsonl")
    assert result.exit_code == 2
    assert "'nowhere.jsonl' does not exist" in result.stderr


def test_replay_of_one_rule_gives_what_it_gives_among_all(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", LEFT, SENT, *BOUGHT)
    everything = decisions(run("replay", path))
    assert {d["rule"] for d in everything} == {"abandoned_cart", "ebook_not_clicked"}
    for rule in ("abandoned_cart", "ebook_not_clicked", "film_half_watched"):
        result = run("replay", path, "--rules", rule)
        assert result.exit_code == 0
        assert decisions(result) == [d for d in everything if d["rule"] == rule]
    both = decisions(run("replay", path, "--rules", "ebook_not_clicked", "--rules", "abandoned_cart"))
    assert both == everything


def test_replay_of_an_unknown_rule_says_which_there_are(run: Run, tmp_path: Path) -> None:
    result = run("replay", write(tmp_path / "in.jsonl", LEFT), "--rules", "abandoned_card")
    assert result.exit_code == 2
    assert "did you mean abandoned_cart?" in result.stderr


def test_replay_leaves_open_what_waits_when_asked_to(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", LEFT, SENT, track("Cart Viewed", "look", 90, "bert", cart_id="c9"))
    result = run("replay", path, "--end", "open")
    assert result.exit_code == 0
    assert [d["rule"] for d in decisions(result)] == ["abandoned_cart"]
    assert "1 wait left open" in result.stderr
    assert len(decisions(run("replay", path))) == 2


def test_replay_counts_waits_that_only_the_disorder_hides(run: Run, tmp_path: Path) -> None:
    events = [track("Product Added", f"add-{n}", 0, f"user-{n // 2}", cart_id=f"c{n}") for n in range(3)]
    result = run("replay", write(tmp_path / "in.jsonl", *events), "--end", "open")
    assert "0 decisions; 3 waits left open" in result.stderr


def test_replay_does_not_write_over_what_it_reads(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", LEFT)
    before = path.read_bytes()
    result = run("replay", path, "--out", tmp_path / "." / "in.jsonl")
    assert result.exit_code == 2
    assert "is one of the files to be read" in result.stderr
    assert path.read_bytes() == before


def test_replay_writes_to_a_file(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl.gz", LEFT, *BOUGHT)
    printed = run("replay", path)
    written = run("replay", path, "--out", tmp_path / "out.jsonl")
    assert written.stdout == ""
    assert (tmp_path / "out.jsonl").read_bytes() == printed.stdout_bytes != b""


def test_replay_that_cannot_write_says_so(run: Run, tmp_path: Path) -> None:
    result = run("replay", write(tmp_path / "in.jsonl", LEFT), "--out", tmp_path / "no" / "out.jsonl")
    assert result.exit_code == 1
    assert "can't be written" in str(result.exception)


def test_replay_merges_files_by_receipt(run: Run, tmp_path: Path) -> None:
    """The order ends Bert's cart only if it is read after the addition, though its file is named first."""
    orders = write(tmp_path / "orders.jsonl", BOUGHT[1])
    carts = write(tmp_path / "carts.jsonl", LEFT, BOUGHT[0])
    apart = decisions(run("replay", orders, carts))
    assert {(d["outcome"], d["correlation_key"]) for d in apart} == {("fired", "c1"), ("cancelled", "c2")}
    assert apart == decisions(run("replay", write(tmp_path / "all.jsonl", LEFT, *BOUGHT)))


def test_replay_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """Hash seeds differ between processes: nothing may hang on the order of a set."""
    lines: list[object] = []
    for n in range(300):
        user = f"user-{n % 40}"
        added = track("Product Added", f"a{n}", n % 170, user, product_id=f"p{n % 7}", price=n / 4, cart_id=f"c{n % 3}")
        lines.append({**added, "anonymousId": f"device-{n % 25}"} if n % 5 == 0 else added)
        if n % 4 == 0:
            lines.append(track("Order Completed", f"o{n}", n % 170 + 9, user, **({"cart_id": "c1"} if n % 8 else {})))
    lines.sort(key=lambda line: line["timestamp"])  # type: ignore[index]
    path = write(tmp_path / "in.jsonl", *lines)
    found = [
        subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "replay", str(path), "--topology", str(TOPOLOGY)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
    assert len(found[0].splitlines()) > 100


def test_an_unusable_topology_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    topology = tmp_path / "t.yaml"
    topology.write_text("kafka: 7\n", "utf-8")
    events = write(tmp_path / "in.jsonl", LEFT)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "replay", str(events), "--topology", str(topology)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{topology}:1:8: error" in done.stderr
    assert "pipeline lint" in done.stderr
    assert "Traceback" not in done.stderr


# --- small things


@pytest.mark.parametrize(
    "ms, text",
    [(None, "forever"), (250, "250ms"), (90_000, "90s"), (3_600_000, "1h"), (86_400_000, "24h"), (604_800_000, "7d")],
)
def test_durations_are_written_as_topology_yaml_does(ms: int | None, text: str) -> None:
    assert duration(ms) == text


def test_addresses_are_shown_without_their_password() -> None:
    assert shown("redis://anna:secret@redis-1:6379/0") == "redis://***@redis-1:6379/0"
    assert shown("redis://redis-1:6379/0") == "redis://redis-1:6379/0"
    assert shown("redis://:p@ss@redis-1") == "redis://***@redis-1"
    assert shown("redis://redis-1/0?password=x&db=1") == "redis://redis-1/0?***"
    assert shown("https://anna:secret@registry:8081/apis") == "https://***@registry:8081/apis"
    assert shown("http://registry:8081,http://other:8081") == "http://registry:8081,http://other:8081"
    assert shown("kafka-1:9092") == "kafka-1:9092"


@settings(max_examples=1000)
@given(
    st.text("Z@:/?#&=%,;[] \\\n\"'", max_size=12).filter(lambda text: "Z" in text),
    st.sampled_from(
        [
            "redis://:{}@h:6379/0",
            "rediss://anna:{}@h",
            "{}@h",
            "http://{}@registry:8081/a/b",
            "http://a:{}@one:1,http://b:{}@two:2",
            "redis://h/0?password={}",
            "unix:///run/redis.sock?db=1&password={}",
            "unix://anna:{}@/run/redis.sock",
            "redis://h/0?db=1;password={}",
            "redis://:{}@h/0?ssl_password={}&x=1",
            "redis://h/0#{}",
        ]
    ),
)
def test_no_password_is_shown_whatever_is_in_it_and_wherever_it_stands(secret: str, form: str) -> None:
    assert "Z" not in shown(form.replace("{}", secret))


def test_a_pipe_that_closes_early_is_no_traceback(tmp_path: Path) -> None:
    lines = [track("Product Added", f"a{n}", n % 60, f"user-{n}", product_id="p") for n in range(5_000)]
    path = write(tmp_path / "in.jsonl", *lines)
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"{sys.executable} -m pipeline.cli replay {path} --topology {TOPOLOGY} | head -n 1;"
            " exit ${PIPESTATUS[0]}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 141  # as of other programs that SIGPIPE ends
    assert json.loads(done.stdout)["rule"] == "abandoned_cart"
    assert done.stderr == ""


def test_of_a_rule_the_schema_of_its_payload_is_printed(tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli, ["schema", "film_half_watched", "--topology", str(TOPOLOGY)])
    assert shown.exit_code == 0
    assert [*json.loads(shown.output)["properties"]] == ["film", "title", "seconds_watched", "total_length"]
    wrong = CliRunner().invoke(cli, ["schema", "abandoned_crat", "--topology", str(TOPOLOGY)])
    assert (wrong.exit_code, "did you mean abandoned_cart?" in wrong.output) == (2, True)
    broken = tmp_path / "broken.yaml"
    broken.write_text("kafka: 7", encoding="utf-8")
    listed = CliRunner().invoke(cli, ["schema", "--topology", str(broken)])
    assert listed.stdout.split() == [*schemas.names(), *schemas.OUTBOUND]
    assert "broken.yaml:1:8" in listed.stderr
    assert CliRunner().invoke(cli, ["schema", "product_added", "--topology", str(broken)]).exit_code == 0


def test_a_schema_is_printed_as_a_registry_has_it() -> None:
    shown = CliRunner().invoke(cli, ["schema", "product_added"])
    assert shown.exit_code == 0
    assert json.loads(shown.output) == json.loads(schemas.text("product_added"))
    assert [field["name"] for field in json.loads(shown.output)["fields"]][0::6] == ["event_id", "body"]
    rules = [rule.name for rule in load(TOPOLOGY, {}).rules]
    known = [*schemas.names(), *schemas.OUTBOUND]
    assert CliRunner().invoke(cli, ["schema", "--topology", str(TOPOLOGY)]).output.split() == [*known, *rules]
    wrong = CliRunner().invoke(cli, ["schema", "product_aded"])
    assert wrong.exit_code == 2
    assert "product_added" in wrong.output

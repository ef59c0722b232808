"""The demo's course: set up, play a week, show one person, say why, end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.text import Text

from pipeline.commands.person import facts
from pipeline.commands.person_view import OUTCOMES, columns, grid, panel, render
from pipeline.demo.playground import Playground
from pipeline.demo.shop import DAY, recording
from pipeline.demo.view import State, View, about, stamp, view
from pipeline.demo.why import Decision, Recorded, why
from pipeline.errors import InvalidEvent, PipelineError
from pipeline.events.files import FileLine
from pipeline.events.registry import connect
from pipeline.runtime.ingest import Ingest
from pipeline.runtime.recordings import merged
from pipeline.runtime.replay import Replay
from pipeline.topology import rehearsal
from pipeline.topology.model import Topology
from pipeline.triggers.decisions import Decision as Decided

FRAME_S = 0.1
QUIET_S = 0.7
LIMIT_S = 45.0
SHIPPED = ("browse_abandoned", "viewed_thrice", "cart_in_stages")
"""Rules that are switched off in the project's topology, and shown beside those that are on."""
STORIES = (("mara-3", "abandoned_cart"), ("mara-1", "abandoned_cart"), ("pia-1", "abandoned_cart"))


def play(console: Console, topology: Path, day_s: float) -> bool:
    """Play it; True when the worker decided the same as a replay of the same week. A day takes `day_s` seconds.

    Raises PipelineError when something didn't start or the worker ended by itself.
    """
    started = time.monotonic()
    shown = on_show(topology)
    screen = view(console, shown)
    try:
        lines = week()
        screen.step("starting an embedded Kafka (librdkafka's mock), an embedded Redis (Valkey) and the worker")
        with Playground(topology, lambda read: msgspec.structs.replace(read, rules=shown.rules)) as ground:
            screen.step(f"playing the week: a day of the shop takes {day_s:g} seconds here")
            decisions = run(ground, screen, lines, day_s)
            person = ground.person("user_id", "mara")
            if person is None:
                raise PipelineError("Mara is not in Redis, though her events went through the worker")
            expected, seconds = replayed(ground.topology, lines)
            told = facts(Replay(ground.topology).book, *person)
    finally:
        screen.close()
    same = expected == {(d["id"], d["outcome"]) for d in decisions}
    console.print()
    console.print(render(told))
    recorded = Recorded(line.event for line in lines if line.event is not None)
    console.print(reasons(decisions, recorded))
    console.print(ending(len(lines), len(decisions), same, seconds, time.monotonic() - started))
    return same


def on_show(topology: Path) -> Topology:
    """The topology with those of SHIPPED on that are in it. Raises TopologyError."""
    return rehearsal(topology, {}).with_on(SHIPPED)


def week() -> list[FileLine]:
    """The recording, as `pipeline ingest` reads it from a file."""
    with TemporaryDirectory(prefix="pipeline-demo-") as folder:
        path = Path(folder) / "week.jsonl"
        path.write_text("\n".join(recording()) + "\n", encoding="utf-8")
        return list(merged([path]))


def run(ground: Playground, screen: View, lines: list[FileLine], day_s: float) -> list[Decision]:
    """Write the week at its pace, and wait until the worker has decided all of it."""
    state = State(len(lines))
    decisions: list[Decision] = []

    def look() -> int:
        news = sorted(ground.decisions(), key=lambda decision: (decision["decided_at"], decision["id"]))
        for decision in news:
            state.decided(decision)
        decisions.extend(news)
        if state.due():
            state.sample(ground.processed())
        state.event_time = min(ground.clock(), state.shop_clock)
        screen.show(state, news)
        return len(news)

    with Ingest(ground.topology, connect(ground.topology.registry), word_every_s=FRAME_S * 2) as ingest:
        for line in paced(lines, day_s, look):
            ingest.put(line)
            state.written += 1
            state.dead = ingest.bad
            state.shop_clock = ingest.high
        through = ingest.complete()
    screen.step("the week is over: deciding what still waits")
    state.shop_clock = through
    quiet = deadline = time.monotonic()
    deadline += LIMIT_S
    while time.monotonic() < deadline:
        if look() or ground.decided_before() < through:
            quiet = time.monotonic()
        elif time.monotonic() - quiet > QUIET_S:
            screen.step(f"done: {len(decisions):,} decisions")
            look()
            return decisions
        time.sleep(FRAME_S)
    said = f"{len(decisions)} decisions so far, event time is at {stamp(ground.clock())}"
    raise PipelineError(f"the worker has not decided the week within {LIMIT_S:.0f} s: {said}")


def paced(lines: list[FileLine], day_s: float, look: Any) -> Iterator[FileLine]:
    """The lines when their moment has come, looking around in between. Nights are short."""
    first = next(line.event.received_at for line in lines if line.event is not None)
    started, shown, now = time.monotonic(), 0.0, first
    for line in lines:
        if line.event is not None:
            now = line.event.received_at
        due = started + (now - first) / DAY * day_s
        while (left := due - time.monotonic()) > 0:
            look()
            time.sleep(min(left, FRAME_S))
        if time.monotonic() - shown > FRAME_S:
            shown = time.monotonic()
            look()
        yield line


def replayed(topology: Topology, lines: list[FileLine]) -> tuple[set[tuple[str, str]], float]:
    """What `pipeline replay` makes of the same week, and how long it takes (seconds)."""
    began = time.perf_counter()
    replay = Replay(topology)
    found: list[Decided] = []
    for line in lines:
        if line.event is not None:
            try:
                found += replay.feed(line.event, line.event.received_at)
            except InvalidEvent:
                continue
    found += replay.finish()
    return {(d.id, d.outcome) for d in found}, time.perf_counter() - began


def reasons(decisions: Sequence[Decision], recorded: Recorded) -> RenderableType:
    """Why one reminder fired, another didn't, and a third was taken back."""
    shown = []
    for key, rule in STORIES:
        of_key = [d for d in decisions if (d["correlation_key"], d["rule"]) == (key, rule)]
        for decision in of_key[-1:]:
            table = grid("dim", "")
            for moment, what in why(decision, recorded):
                table.add_row(moment, what)
            outcome = decision["outcome"]
            name = f"{decision['outcome']}: {about(decision) if outcome == 'fired' else 'cart ' + key}"
            shown.append(panel(name, table, OUTCOMES[outcome]))
    if not shown:  # a topology with other rules
        return Text()
    title = Text("Why one reminder fired, one did not, and one was taken back", "bold")
    return Group(Text(), title, columns(*shown[:2]), *shown[2:])


def ending(events: int, decisions: int, same: bool, replay_s: float, seconds: float) -> RenderableType:
    """What this was, and what it was not."""
    table = grid("", "")
    check = Text("✓", "bold green") if same else Text("✗", "bold red")
    verdict = "the same" if same else "NOT the same"
    table.add_row(
        check, f"{decisions:,} decisions, {verdict} as `pipeline replay` makes of these events in {replay_s:.1f} s."
    )
    table.add_row(
        Text("!", "bold yellow"),
        "The embedded broker has no transactions, keeps nothing and takes one worker. The code was the real one, but"
        " about crashes, speed or loss this run proves nothing: `make test` and `make bench` do, on a real Kafka and"
        " a real Redis.",
    )
    table.add_row(
        Text("→", "bold cyan"),
        "Next: README.md, “Run it for real”; rules stand in topology.yaml, and those that are switched off there, of"
        f" which this run showed {len(SHIPPED)}, in rules/; `pipeline replay` tries them on recordings.",
    )
    return panel(f"{events:,} events, {seconds:.0f} seconds", table, "cyan")

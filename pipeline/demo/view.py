"""The demo on a terminal: one live picture where there is one, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.commands.person_view import OUTCOMES, grid, money, panel
from pipeline.commands.topics import duration
from pipeline.topology.model import Topology

Decision = Mapping[str, Any]

BARS = "▁▂▃▄▅▆▇█"
SAMPLE_S = 0.5
FEED = 16


class State:
    """What there is to show. Times in UTC ms."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.written = 0
        self.dead = 0
        self.shop_clock = 0
        self.event_time = 0
        self.processed = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.feed: deque[Decision] = deque(maxlen=FEED)
        self.rates: deque[float] = deque(maxlen=40)
        self._sampled_at = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for the next `sample`."""
        return time.monotonic() - self._sampled_at >= SAMPLE_S

    def sample(self, processed: int) -> None:
        """Take the rate. `processed`: events that the worker has processed so far."""
        now = time.monotonic()
        self.rates.append(max(processed - self.processed, 0) / (now - self._sampled_at))
        self.processed, self._sampled_at = processed, now

    def decided(self, decision: Decision) -> None:
        """One more."""
        self.outcomes[decision["rule"], decision["outcome"]] += 1
        self.feed.append(decision)


class View(Protocol):
    """Where the demo shows itself."""

    def step(self, what: str) -> None:
        """What is being done now."""

    def show(self, state: State, news: Sequence[Decision]) -> None:
        """How it stands, and what was decided since the last time."""

    def close(self) -> None:
        """No more; what is shown stays."""


class LiveView:
    """One picture, drawn anew ten times a second."""

    def __init__(self, console: Console, topology: Topology) -> None:
        self._rules = topology.rules
        self._rows = max(3, min(FEED, console.size.height - 20 - len(self._rules)))
        self._steps: list[str] = []
        self._state: State | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._done = False
        self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=10)
        self._live.start()

    def step(self, what: str) -> None:
        """See View."""
        self._steps.append(what)

    def show(self, state: State, news: Sequence[Decision]) -> None:
        """See View."""
        self._state = state

    def close(self) -> None:
        """See View."""
        self._done = True
        self._live.stop()

    def _picture(self) -> RenderableType:
        parts: list[RenderableType] = [self._head()]
        if self._state is not None:
            parts += [self._way(self._state), self._counts(self._state), self._feed(self._state)]
        return Group(*parts)

    def _head(self) -> RenderableType:
        lines = grid("cyan", "")
        for number, step in enumerate(self._steps):
            last = number == len(self._steps) - 1 and not self._done
            lines.add_row(self._spinner if last else Text("✓", "green"), Text(step, "" if last else "dim"))
        return panel("a week in a small outdoor shop, through the real worker", lines, "cyan")

    def _way(self, state: State) -> RenderableType:
        table = grid("dim", "", "")
        bar = ProgressBar(total=max(state.total, 1), completed=state.written, width=42, complete_style="cyan")
        table.add_row("events", bar, f"{state.written:,} of {state.total:,}")
        now, most = (state.rates[-1], max(state.rates)) if state.rates else (0.0, 0.0)
        table.add_row(
            "a second", Text(sparkline(list(state.rates)), "cyan"), f"{now:,.0f} processed, {most:,.0f} at most"
        )
        shop, known = stamp(state.shop_clock), stamp(state.event_time)
        table.add_row("time", f"{shop} in the shop", f"{known} is decided" if state.event_time else "")
        acted = sum(n for (_, outcome), n in state.outcomes.items() if outcome in ("fired", "retracted"))
        way = f"[cyan]resolve_identity[/] {state.processed:,} ▸ [cyan]maintain_profile[/] ▸ "
        way += f"decisions {state.outcomes.total():,}, [bold green]triggers {acted:,}[/]"
        way += f", [yellow]dead letters {state.dead}[/]" if state.dead else ""
        return panel("on the way", Group(table, Text.from_markup(way)))

    def _counts(self, state: State) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("rule", style="bold")
        table.add_column("waits")
        for outcome, style in OUTCOMES.items():
            table.add_column(outcome, justify="right", style=style)
        for rule in self._rules:
            counts = [state.outcomes[rule.name, outcome] for outcome in OUTCOMES]
            table.add_row(rule.name, duration(rule.longest_ms), *(f"{n:,}" if n else "·" for n in counts))
        return panel("decisions", table)

    def _feed(self, state: State) -> RenderableType:
        table = grid("dim", "", "", "bold", "")
        for decision in list(state.feed)[-self._rows :]:
            outcome = decision["outcome"]
            style = "dim" if outcome == "cancelled" else ""
            table.add_row(
                stamp(decision["decided_at"]),
                Text(outcome, OUTCOMES.get(outcome, "")),
                Text(decision["rule"], style),
                Text(who(decision), style),
                Text(about(decision), style, overflow="ellipsis", no_wrap=True),
            )
        for _ in range(self._rows - len(state.feed)):
            table.add_row("", "", "", "", "")
        return panel("as they come (event time, UTC)", table)


class PlainView:
    """Lines, for a log or a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def step(self, what: str) -> None:
        """See View."""
        self._say(what)

    def show(self, state: State, news: Sequence[Decision]) -> None:
        """See View."""
        for decision in news:
            said = f"{stamp(decision['decided_at'])}  {decision['outcome']:<10} {decision['rule']:<18}"
            self._say(f"{said} {who(decision)}: {about(decision)}")
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 2.0
            rate = state.rates[-1] if state.rates else 0.0
            clock = f"shop at {stamp(state.shop_clock)}, event time at {stamp(state.event_time)}"
            self._say(f"-- {state.written:,} of {state.total:,} events, {rate:,.0f} events/s, {clock}")

    def close(self) -> None:
        """See View."""

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def view(console: Console, topology: Topology) -> View:
    """What suits the console."""
    return LiveView(console, topology) if console.is_terminal else PlainView(console)


def stamp(ms: int) -> str:
    """`Wed 26. 13:23`; `–` for no time."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%a %d. %H:%M") if ms else "–"


def sparkline(values: list[float]) -> str:
    """The last rates as little bars."""
    top = max(values, default=0.0)
    return "".join(BARS[min(int(value / top * len(BARS)), len(BARS) - 1)] if top else BARS[0] for value in values)


def who(decision: Decision) -> str:
    """A name for the person: the strongest identifier known at the decision."""
    identifiers = decision["identifiers"]
    return next((identifiers[n][0] for n in ("user_id", "email", "anonymous_id") if identifiers.get(n)), "?")


def about(decision: Decision) -> str:
    """What it is about, with its reason where that isn't plain."""
    payload = decision["payload"]
    if "lines" in payload:
        lines = ", ".join(f"{line['quantity']} × {line['product']}" for line in payload["lines"])
        what = f"{lines or 'nothing'}  {money(payload['total'], payload['currency'])}".removesuffix("  –")
    elif "film" in payload:
        length = payload.get("total_length") or 0
        share = f", {payload['seconds_watched'] / length:.0%} watched" if length else ""
        what = f"“{payload.get('title') or payload['film']}”{share}"
    elif "message_id" in payload:
        what = f"mail {payload['message_id']}"
    else:
        told = [str(value) for value in payload.values() if value is not None]
        what = ", ".join(told) or decision.get("correlation_key") or ""
    if decision.get("stage"):
        what = f"{decision['stage']}: {what}"
    return what if decision["outcome"] == "fired" else f"{decision['reason']}: {what}"

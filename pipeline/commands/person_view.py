"""A person on the terminal: panels over the facts of person.py. The demo shows the same ones."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby

from rich import box
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.commands.person import Facts

# What an event type is about, by its colour.
STYLES = {
    "email": "magenta",
    "video": "blue",
    "order": "bold green",
    "offline": "bold green",
    "product": "cyan",
    "cart": "cyan",
    "checkout": "cyan",
    "identified": "bold yellow",
}
OUTCOMES = {
    "fired": "bold green",
    "cancelled": "cyan",
    "suppressed": "yellow",
    "retracted": "bold red",
    "recovered": "green",
}


def render(facts: Facts) -> RenderableType:
    """Everything, from who it is to what waits."""
    parts: list[RenderableType] = [_who(facts)]
    panels = (_carts(facts), _messages(facts), _films(facts), _consent(facts), _segments(facts))
    parts += [panel for panel in panels if panel is not None]
    parts += [timeline(facts), _rules(facts)]
    return Group(*parts)


def moment(text: str | None) -> str:
    """`2025-11-24T19:02:00.000Z` as `Mon 24 Nov 19:02:00`."""
    if text is None:
        return "–"
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%a %d %b %H:%M:%S")


def panel(title: str, inside: RenderableType, style: str = "dim", subtitle: str | None = None) -> Panel:
    """One box."""
    return Panel(
        inside, title=Text(title, "bold"), title_align="left", subtitle=subtitle, border_style=style, box=box.ROUNDED
    )


def grid(*columns: str, expand: bool = False) -> Table:
    """A table without lines; a column is a style."""
    table = Table.grid(padding=(0, 2), expand=expand)
    for style in columns:
        table.add_column(style=style)
    return table


def kind(event_type: str) -> Text:
    """An event type in words and colour."""
    style = STYLES.get(event_type.partition("_")[0], "white")
    return Text(event_type.replace("_", " "), style)


def money(value: float | None, currency: str | None) -> str:
    """`199.00 EUR`; `–` when unknown."""
    return "–" if value is None else f"{value:,.2f} {currency or ''}".rstrip()


def _who(facts: Facts) -> Panel:
    left = grid("dim", "")
    left.columns[0].no_wrap = True
    left.columns[1].overflow = "fold"
    for namespace, values in facts["identifiers"].items():
        left.add_row(namespace, "\n".join(values))
    for name, value in facts["attributes"].items():
        if name not in facts["identifiers"]:
            left.add_row(name, Text(str(value)))
    middle = grid("dim", "")
    middle.columns[0].no_wrap = middle.columns[1].no_wrap = True
    middle.add_row("first seen", moment(facts["first_seen"]))
    middle.add_row("last seen", moment(facts["last_seen"]))
    middle.add_row("events", f"{facts['events']:,}")
    for order in facts["orders"]:
        middle.add_row("orders", f"{order['orders']:,}, {money(order['revenue'], order['currency'])}")
    if "visits" in facts:
        middle.add_row("visits", f"{facts['visits']:,}, the last {moment(facts['last_visits'][-1]['from'])}")
    sides = grid("", "", expand=True)
    sides.add_row(left, middle)
    totals = Text()
    for event_type, number in facts["totals"].items():
        totals.append(" · " if totals else "", "dim").append(f"{number:,} ").append_text(kind(event_type))
    return panel(f"profile {facts['profile_id']}", Group(sides, Text(), totals), "cyan")


def _carts(facts: Facts) -> Panel | None:
    if not facts["carts"]:
        return None
    table = grid("", "", "", "")
    table.columns[1].justify = table.columns[3].justify = "right"
    for cart in facts["carts"]:
        for line in cart["lines"]:
            total = money(line["total"], line["currency"])
            table.add_row(
                Text(cart["cart_id"] or "(no cart id)", "dim"), f"{line['quantity']} ×", line["product"], total
            )
    return panel("carts", table)


def _messages(facts: Facts) -> Panel | None:
    if not facts["messages"]:
        return None
    table = grid("", "magenta", "dim")
    for message in facts["messages"]:
        status = message["status"] or "–"
        table.add_row(Text(message["message_id"]), status, moment(message.get(status)))
    return panel("e-mails", table)


def _films(facts: Facts) -> Panel | None:
    if not facts["films"]:
        return None
    table = grid("", "", "dim")
    for film in facts["films"]:
        share = film["share"] or 0.0
        bar = ProgressBar(total=1.0, completed=min(share, 1.0), width=24, complete_style="blue")
        watched = f"{share:.0%} of {film['total_length'] or 0:,.0f} s"
        table.add_row(Text(film["title"] or film["film"]), bar, watched)
    return panel("films", table)


def _consent(facts: Facts) -> Panel | None:
    if not facts.get("consent"):
        return None
    table = grid("", "", "dim")
    for each in facts["consent"]:
        said = Text("granted", "green") if each["granted"] else Text("refused", "red")
        table.add_row(Text(each["purpose"]), said, moment(each["at"]))
    return panel("consent", table)


def _segments(facts: Facts) -> Panel | None:
    if not facts.get("segments"):
        return None
    table = grid("bold", "dim")
    for each in facts["segments"]:
        table.add_row(each["segment"], f"since {moment(each['since'])}")
    return panel("segments", table)


def timeline(facts: Facts, last: int = 20) -> Panel:
    """The newest events, oldest first; the same several times in a row is one line."""
    table = grid("dim", "", "", "dim")
    runs = groupby(facts["timeline"], key=lambda entry: (entry["type"], entry["label"]))
    for (event_type, label), run in [(key, list(run)) for key, run in runs][-last:]:
        times = f"× {len(run)}" if len(run) > 1 else ""
        table.add_row(moment(run[0]["at"]), kind(event_type), Text(label or ""), times)
    return panel("timeline (UTC)", table)


def _rules(facts: Facts) -> Panel:
    table = grid("bold", "", "")
    for wait in facts["waiting"]:
        will, reason = wait["will"]
        style = "yellow" if will == "fire" else "cyan"
        stage = f"{wait['stage']}: " if "stage" in wait else ""
        what = Text(
            f"{stage}will {will} ({reason}): due {moment(wait['due_at'])}, decided {moment(wait['decided_at'])}", style
        )
        table.add_row(wait["rule"], Text(wait["correlation_key"] or "", "dim"), what)
    for told in facts.get("on_arrival", ()):
        what = Text(f"{told['outcome']} ({told['reason']}), told as it arrived, due {moment(told['due_at'])}", "green")
        table.add_row(told["rule"], Text(told["correlation_key"] or "", "dim"), what)
    retractable = {(t["rule"], t["correlation_key"]) for t in facts["retractable"]}
    for fired in facts["retractable"]:
        what = Text(f"fired, due {moment(fired['due_at'])}; a late event may still take it back", "green")
        table.add_row(fired["rule"], Text(fired["correlation_key"] or "", "dim"), what)
    for done in facts["decided"]:
        if (done["rule"], done["correlation_key"]) not in retractable:
            what = Text(f"decided, up to {moment(done['until'])}", "dim")
            table.add_row(done["rule"], Text(done["correlation_key"] or "", "dim"), what)
    if not table.row_count:
        table.add_row(Text("nothing waits", "dim"))
    buffered = facts["not_yet_folded"]
    later = f"{buffered} newer events reach the rules when event time has come" if buffered else None
    return panel("rules", table, subtitle=later)


def columns(*parts: RenderableType) -> Columns:
    """Side by side, in equal parts."""
    return Columns(parts, expand=True, equal=True)

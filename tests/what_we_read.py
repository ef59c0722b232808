"""The tables of docs/what-we-read.md, docs/collect-names.md and docs/produce.md that name event types and what is read
of them: `python -m tests.what_we_read` writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.events import posthog, snowplow
from pipeline.events.catalogue import STREAMS, catalogue, stream_of
from pipeline.events.segment import translate
from pipeline.events.segment_body import Fields
from pipeline.events.segment_names import LINE, PAGE, TRACKED
from pipeline.events.snowplow_schemas import BASE, CLICKS, GOOGLE, MEDIA, SHOP
from pipeline.events.text import PLACEHOLDERS

PAGE_FILES = [
    Path(__file__).parents[1] / "docs" / name for name in ("what-we-read.md", "collect-names.md", "produce.md")
]
_TABLE = re.compile(
    r"(?P<start><!-- made by tests/what_we_read.py: (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


def rewritten(page: str) -> str:
    """A page with its tables as they ought to be."""
    tables = {
        "names": _names(), "fields": _fields(), "nothing": _nothing(), "topics": _topics(), "posthog": _posthog(),
        "snowplow": _snowplow(),
    }  # fmt: skip
    return _TABLE.sub(lambda found: found["start"] + tables[found["name"]] + "\n" + found["end"], page)


def _topics() -> str:
    rows = [
        (f"`events.{stream}`", ", ".join(f"`{name}`" for name in catalogue() if stream_of(name) == stream))
        for stream in STREAMS
    ]
    return _table(("topic", "event types (`pipeline schema NAME` prints one, whole)"), rows)


def _names() -> str:
    by_type: dict[str, list[str]] = {}
    for name, known in TRACKED.items():
        cause = "".join(f" (cause: {value})" for field, value in known.told if field == "cause")
        by_type.setdefault(known.type, []).append(f"`{name}`{cause}")
    return _table(("names", "our type"), [(", ".join(names), f"`{kind}`") for kind, names in sorted(by_type.items())])


def _fields() -> str:
    rows: dict[tuple[str, str], set[str]] = {}
    fields_of = {known.type: known.fields for known in TRACKED.values()} | {"page_viewed": PAGE}
    for kind, fields in [*fields_of.items(), ("an item of `products`", LINE)]:
        for field, told in _told(fields):
            if (kind, field) != ("product_viewed", "products"):
                rows.setdefault((field, told), set()).add(kind if " " in kind else f"`{kind}`")
    everything = [(f"`{field}`", told, ", ".join(sorted(kinds))) for (field, told), kinds in sorted(rows.items())]
    return _table(("our field", "read from", "of"), everything)


def _told(fields: Fields) -> list[tuple[str, str]]:
    return [(field, ", ".join(f"`{name}`" for name in names) + f": {kind.noun}") for field, kind, names in fields.rows]


def _nothing() -> str:
    return ", ".join(f"`{word}`" for word in sorted(PLACEHOLDERS) if word)


def _posthog() -> str:
    rows = [(f"`{name}`", *_as(posthog.call_of({"event": name}))) for name in posthog.CALLS]
    rows.append(("any other", "track, by its name", "by its name, else `custom`"))
    told = [
        *((f"`page.{ours}`", f"`{theirs}`") for ours, theirs in posthog.PAGE.items()),
        *((f"`{ours}`", ", ".join(f"`{name}`" for name in theirs)) for ours, theirs in posthog.CONTEXT.items()),
        *((f"`library.{ours}`", f"`{theirs}`") for ours, theirs in posthog.LIBRARY.items()),
        *((f"`campaign.{ours}`", f"`{theirs}`") for ours, theirs in posthog.CAMPAIGN.items()),
    ]
    return "\n\n".join((_table(("PostHog's event", "as", "our type"), rows), _table(("context", "read from"), told)))


def _snowplow() -> str:
    rows = [(f"`e={e}`", *_as(snowplow.call_of({"e": e}))) for e in snowplow.EVENTS if e != "ue"]
    described: list[tuple[str, dict[str, Any]]] = [
        *((f"{BASE}.ecommerce/snowplow_ecommerce_action", {"type": action}) for action in SHOP),
        *(("com.google.analytics.enhanced-ecommerce/action", {"action": action}) for action in GOOGLE),
        *((f"{BASE}.media/{name}", {}) for name in MEDIA),
        *((f"{BASE}/{name}", {}) for name in ("add_to_cart", "remove_from_cart", "site_search", "identify")),
        *((f"{BASE}/{name}", {}) for name in (*CLICKS, "submit_form")),
        (f"{BASE}/screen_view", {}),
        ("com.snowplowanalytics.mobile/screen_view", {}),
    ]
    for schema, data in described:
        which = "".join(f", `{field}: {value}`" for field, value in data.items())
        event = {"e": "ue", "ue_pr": {"schema": f"iglu:{schema}/jsonschema/1-0-0", "data": data}}
        rows.append((f"`{schema}`{which}", *_as(snowplow.call_of(event))))
    rows.append(("any other self-describing event", "track, by its schema's name", "by its name, else `custom`"))
    return _table(("Snowplow's event", "as", "our type"), rows)


def _as(call: dict[str, Any]) -> tuple[str, str]:
    """The call, by its event's name if it is a track, and our type."""
    (event,) = translate({**call, "timestamp": "2026-11-29"})
    name = str(call["event"] if call["type"] == "track" else call["type"])
    return "by its schema" if "/" in name else name, f"`{event.type}`"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    """Write the pages anew."""
    for file in PAGE_FILES:
        file.write_text(rewritten(file.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()

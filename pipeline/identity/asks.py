"""What the first hop asks of the identity graph."""

from __future__ import annotations

import msgspec


class Ask(msgspec.Struct, array_like=True, gc=False):
    """One event's identifiers, strongest first, to look up and tie.

    `ids` is a flat list: namespace, value, leaf id, namespace, value, leaf id, ... `offset` is the source offset.
    """

    offset: int
    occurred_at: int
    received_at: int
    ids: list[str]


class Answer(msgspec.Struct, array_like=True, gc=False):
    """What the graph says of one Ask.

    `root`: the profile id. `ids`: the accepted identifiers, flat [namespace, value, ...], anchor first; for a public
    device (graph.py) it is the owner at the event's time instead. `youngest`: the largest link time on any path walked
    (0: none). `cacheable`: the same identifiers may be routed to `root` from memory as long as received_at > youngest.
    (Not at youngest: that may be the tie that made the link, asked again because nobody was told of it the first time.)
    `refused`: flat [namespace, value, why, ...]. `merges`: flat [loser, winner, ...] to tell the second hop.
    """

    root: str
    ids: list[str]
    youngest: int
    cacheable: bool
    refused: list[str]
    merges: list[str]

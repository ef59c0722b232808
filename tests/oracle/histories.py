"""Small nasty histories from a seed: what breaks a reader that is only nearly right.

    history(seed) -> list of events in log order, the input of `oracle.decisions`

Times lie on a coarse grid, so that things happen in one millisecond, exactly at D and exactly at D + L. The log runs
backwards by less than the disorder; with `behind` some events lie further back. Unless `shared_devices`, nobody shares
an identifier, so that the order of the log changes nothing. With `real` they hold what people really send.
"""

from __future__ import annotations

import re

from tests.oracle.real import STANDS_FOR_NOBODY, RealPerson, RealStory
from tests.oracle.story import DISORDER, Event, Person, Story

__all__ = ["DISORDER", "Event", "apart", "history", "together"]

SPELT = re.compile(r"""^((?:\s|["']|%22)*)(.*?)((?:\s|["']|%22)*)$""")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
HOST = re.compile(r"shop\.example", re.IGNORECASE)


def history(
    seed: int,
    *,
    shared_devices: bool = False,
    handed_round: bool = False,
    taken_over: bool = False,
    segment: bool = True,
    behind: bool = False,
    size: int | None = None,
    real: bool = False,
) -> list[Event]:
    """The log of one partition: 1 to 4 people, some 10 to 60 events, all three rules.

    `segment`: only what Segment's JSON can say (no intervals of our own player, no crm_id, no offline_purchased).
    `behind`: some events lie further back in the log than the disorder. `size`: how many events at least.
    `handed_round`: two to five people on one device, or two, by turns. `taken_over`: one alone, but for a few moments.
    `real`: what people really send (real.py); without it a seed's history is what it always was.
    """
    story = RealStory(seed, segment=segment) if real else Story(seed, segment=segment)
    rng = story.rng
    people = [
        (RealPerson if real else Person)(rng, number + 1, segment=segment)
        for number in range(rng.choice([2, 2, 3, 4] if shared_devices else [1, 1, 2, 2, 3, 4]))
    ]
    wanted = size or rng.randint(8, 45)
    if handed_round:
        story.handed_round(rng.randint(2, 5))
    if taken_over:
        story.taken_over()
    if shared_devices:
        story.shared_tablet(people)
    favourite = rng.choice(["cart", "cart", "ebook", "film", "any"])
    while len(story.events) < wanted:
        person = rng.choice(people)
        scene = rng.choice(["cart", "cart", "ebook", "film", "noise"])
        if favourite != "any" and rng.random() < 0.6:
            scene = favourite
        if scene == "ebook":
            story.ebook(person, rng.choice(people))
        else:
            getattr(story, scene)(person)
    for person in people:
        story.ties(person)
    story.duplicates()
    return story.log(behind=behind)


def together(histories: list[list[Event]]) -> list[Event]:
    """Several histories in one log, their identifiers and event ids kept apart by a suffix, each in its own order.

    Without `behind` the decisions are those of each history, and a process need be started only once for all.
    """
    placed = []
    for number, events in enumerate(histories):
        largest = 0
        for event in events:
            largest = max(largest, event["received_at"])
            names = {space: apart(value, number) for space, value in event["identifiers"].items()}
            placed.append((largest, {**event, "event_id": f"{event['event_id']}-{number}", "identifiers": names}))
    return [event for _, event in sorted(placed, key=lambda pair: pair[0])]


def apart(value: str, number: int) -> str:
    """An identifier as this history's own, in whatever spelling. What stands for nobody stays as it is."""
    found = SPELT.match(value.rstrip())
    assert found is not None
    before, word, behind = found.groups()
    if word in STANDS_FOR_NOBODY:
        return value
    if UUID.fullmatch(word):  # the last digit is the person's
        return f"{before}{word[:24]}{number:011x}{word[-1]}{behind}"
    if HOST.search(value):
        return HOST.sub(lambda host: f"{host[0]}-{number}", value).rstrip()
    return f"{before}{word}-{number}{behind}"

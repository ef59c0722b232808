"""What there is to say about recorded files: a few lines at the end, whatever happened to however many events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Console

from pipeline.commands.common import plural
from pipeline.errors import InvalidEvent
from pipeline.events.files import FileLine
from pipeline.events.model import Remark

SHOWN = 5  # refused lines that are named on a terminal as they occur
PLACES = 3  # that are named of one reason
REMARKS = 20  # kinds that are told
KINDS = 10_000  # kinds that are kept apart: a file may hold as many odd names as events
STRANGE = 3  # refused lines at a file's beginning by which it is guessed what the file is


class Summary:
    """Counts. `refused`: lines that couldn't be used; `events`: those that could; `high`: the latest receipt (UTC ms).

    `disorder`: ms by which an event may stand behind those before it.
    """

    def __init__(self, disorder: int, console: Console) -> None:
        self.events = 0
        self.refused = 0
        self.high = 0
        self._disorder = disorder
        self._console = console
        self._reasons: dict[str, _Group] = {}
        self._remarks: dict[Remark, _Group] = {}
        self._more_remarks = 0
        self._behind = _Group("")
        self._worst = 0
        self._file = ""  # of the last event
        self._good: set[str] = set()  # files with events
        self._strange: dict[str, list[bytes]] = {}  # of files without: how they begin

    def event(self, line: FileLine) -> None:
        """One that could be used."""
        event = line.event
        assert event is not None
        self.events += 1
        if event.received_at > self.high:
            self.high = event.received_at
        elif event.received_at < self.high - self._disorder:
            self._behind.add(line)
            self._worst = max(self._worst, self.high - event.received_at)
        if line.file != self._file:
            self._file = line.file
            self._good.add(line.file)
        for remark in event.remarks:
            group = self._remarks.get(remark)
            if group is None:
                if len(self._remarks) >= KINDS:
                    self._more_remarks += 1
                    continue
                group = self._remarks[remark] = _Group(remark.detail)
            group.add(line)

    def refuse(self, line: FileLine, error: InvalidEvent) -> None:
        """One that couldn't."""
        self.refused += 1
        group = self._reasons.get(error.reason)
        if group is None:
            group = self._reasons[error.reason] = _Group(error.detail)
        group.add(line)
        if self.refused <= SHOWN and self._console.is_terminal:
            self._say(f"{_place(line)}: {error}")
        if line.file not in self._good and error.reason in ("invalid_json", "invalid_shape", "too_large"):
            begins = self._strange.setdefault(line.file, [])
            if len(begins) < STRANGE:
                begins.append(line.raw[:1000])
                if len(begins) == STRANGE:
                    self._guess(line.file, begins)

    def tell(self) -> None:
        """Say all of it."""
        for file, begins in self._strange.items():
            if file not in self._good and len(begins) < STRANGE:
                self._guess(file, begins)
        for text in self.lines():
            self._say(text)

    def lines(self) -> Iterator[str]:
        """The summary: what was refused, what was odd, what stood out of order."""
        for reason, group in sorted(self._reasons.items(), key=lambda pair: -pair[1].count):
            yield f"{group.places[0]}: {reason}: {group.detail}{group.rest()}"
        remarks = sorted(self._remarks.items(), key=lambda pair: -pair[1].count)
        for remark, group in remarks[:REMARKS]:
            what = remark.what.replace("_", " ")
            yield f"{what}: {remark.detail} ({_times(group.count)}, first {group.places[0]})"
        if left := remarks[REMARKS:]:
            times = sum(group.count for _, group in left) + self._more_remarks
            yield f"and {plural(len(left), 'other remark')} of such kinds, {_times(times)}"
        if behind := self._behind.count:
            share, allowed, worst = _share(behind, self.events), _duration(self._disorder), _duration(self._worst)
            yield (
                f"out of order: {behind:,} of {plural(self.events, 'event')} ({share}) stand behind one that was"
                f" received over {allowed} later (the worst by {worst}, first {self._behind.places[0]})."
                " They count as received late, which changes how waits end: --sort takes all by the time of receipt."
            )

    def _guess(self, file: str, begins: list[bytes]) -> None:
        self._say(f"{file} holds {looks_like(begins)}, not recorded events, by its first lines. It is read on.")

    def _say(self, text: str) -> None:
        self._console.print(text, style="yellow", markup=False)


class _Group:
    """What happened in the same way: how often, where first, and how it was told then."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        self.count = 0
        self.places: list[str] = []

    def add(self, line: FileLine) -> None:
        self.count += 1
        if len(self.places) < PLACES:
            self.places.append(_place(line))

    def rest(self) -> str:
        """The other places."""
        if self.count == 1:
            return ""
        more = ", …" if self.count > len(self.places) else ""
        return f" ({_times(self.count)}; also {', '.join(self.places[1:])}{more})"


def looks_like(lines: list[bytes]) -> str:
    """What a file may be that begins with these lines."""
    start = b"\n".join(lines)
    if b"\0" in start or sum(byte < 32 and byte not in b"\t\n\r\x1b\x1e" for byte in start) * 20 > len(start):
        return "binary data"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "HTML"
    if start.lstrip().startswith(b"<"):
        return "XML or HTML"
    if all(line.lstrip().startswith((b"{", b"[")) for line in lines):
        return "JSON of another kind"
    for sign, name in ((b",", "CSV"), (b";", "CSV"), (b"\t", "a table with tabs"), (b"|", "a table")):
        if len(lines) > 1 and min(Counter(line.count(sign) for line in lines)) > 0:
            return name
    return "something else"


def _place(line: FileLine) -> str:
    return f"{line.file}:{line.number}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if part * 1000 >= whole else "under 0.1%"


def _duration(ms: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms >= size:
            return f"{ms / size:.3g} {unit}"
    return f"{ms} ms"

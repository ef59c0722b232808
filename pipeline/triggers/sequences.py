"""Sequences: events that follow one another, and start a rule when the last of them has come (docs/starts.md).

What a sequence may be made of is noted as it is learnt, in one ledger a rule. Once all that was received in one
millisecond is known it is looked for *runs*: events one after another by occurrence, one a step, all within so long of
the first. What serves a run of a key serves no other of that key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from pipeline.events import tidy
from pipeline.language.carts import Change
from pipeline.language.memory import Entry, Ledger, Matcher, Memory
from pipeline.language.paths import Read, keys_of, needs, read_path, told
from pipeline.language.references import (
    ITEMS_KEPT,
    Asked,
    Comparison,
    asked,
    kept,
    met,
    split,
    start_path,
)
from pipeline.language.where import EventTest, compile_where
from pipeline.topology import model

KEPT = 300  # events of one sequence
TOLD_KEPT = 512  # characters of what one told
RUNS_KEPT = 50  # unfinished ones that told different things
AT_ONCE = ""  # in what it told: ids of those of its steps that occurred in the millisecond of the last one
KEYS_KEPT = 100  # of which something may come of an event that has none, those heard of last
WHOLE = None
"""In place of keys: of the person, whatever the key."""

Keys = list[str] | None
Identity = tuple[int, int, str, int]
Place = tuple[int, int, str]
"""In event time, of what ends waits: occurred_at, received_at, event id."""
Ended = Callable[[Any, str, Entry, dict[str, Any]], Place | None]
"""What ends a wait of a rule (rules.Compiled), for a key, that begins with an event which told that, but for what must
not follow; None: nothing is known.
"""


class Seen(NamedTuple):
    """What is kept of an event, as a ledger's value. `steps`: a bit for each that it may be. `keys`: whose, or WHOLE.
    `asks`: step -> what must hold besides. `told`: `name.path` -> what it told. `used`: key -> by which run.
    """

    steps: int
    keys: Keys
    asks: dict[int, list[list[Any]]]
    told: dict[str, Any]
    used: dict[str, list[Any]]


class Run(NamedTuple):
    """What was found of a sequence: `entries`, one a step so far, and what they `told`. `new`: one of them is, and so
    it may start something.
    """

    entries: tuple[Entry, ...]
    told: dict[str, Any]
    new: bool

    @property
    def rank(self) -> tuple[Identity, ...]:
        """The later its first step the better, then its second."""
        return tuple(entry.order for entry in self.entries)


NONE = Run((), {}, False)


class Found(NamedTuple):
    """A run that is complete. `bounded`: what was forgotten might have made it another."""

    last: Entry
    told: dict[str, Any]
    bounded: bool


class SequencedRule(Protocol):
    """What of a rule is looked at."""

    name: str
    per: str | None
    shared: bool
    after: int
    lateness: int
    keeps: tuple[tuple[str, Read], ...]


class _Step:
    """What one step asks of an event."""

    def __init__(self, step: model.Step, per: str | None) -> None:
        self.events, self.name, self.absent = step.select.events, step.name, step.absent
        plain, comparisons = split(step.select.where)
        self.where, self.paths = plain, [*step.select.where]
        self.compares: list[tuple[Comparison, Read]] = [(each, read_path(each.path)) for each in comparisons]
        self._tests: dict[str, EventTest | None] = {
            event: compile_where(tidy.operands(event, plain)) for event in self.events
        }

    def may_be(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Whether an event may be this step."""
        if kind not in self._tests:
            return False
        test = self._tests[kind]
        return test is None or test(data)


class Steps(Matcher):
    """Which events a sequence is made of, as a matcher of conditions (language/memory.py)."""

    def __init__(self, rule: SequencedRule, sequence: model.Sequence, max_age: int) -> None:
        self._max_age = max_age
        self.steps = [_Step(step, rule.per) for step in sequence.steps]
        self.rule = rule
        events = tuple(event for step in self.steps for event in step.events)
        super().__init__(events, {}, within=sequence.within_ms, newest=KEPT)
        self.id = f"q{rule.name}"
        self.where = {"": {}} if all(step.where for step in self.steps) else {}
        self._keys_of = keys_of(rule.per) if rule.per is not None else None
        self._by_key = frozenset(e for e in events if rule.per is not None and told(e, rule.per) is not None)
        self._last = max(number for number, step in enumerate(self.steps) if not step.absent)
        names = {step.name for step in self.steps if step.name}
        spoken = [start_path(each.reference) for step in self.steps for each, _ in step.compares]
        paths = [path for path in dict.fromkeys(spoken) if path is not None and path.partition(".")[0] in names]
        self._tells: list[list[tuple[str, Read]]] = [
            [(path, read_path(path.partition(".")[2])) for path in paths if path.partition(".")[0] == step.name]
            for step in self.steps
        ]
        self._tells[self._last] += rule.keeps
        self.spoken = frozenset(paths)

    def fields(self) -> tuple[str, ...]:
        """Of an event's data, that are looked at."""
        paths = [path for step in self.steps for path in step.paths]
        paths += [path.partition(".")[2] for path in self.spoken]
        paths += [path for path, _ in self.rule.keeps]
        paths += [self.rule.per] if self.rule.per is not None else []
        return (*dict.fromkeys(field for path in paths for field in needs(path)),)

    def test(self, kind: str) -> EventTest:
        """Whether it may be one of its steps."""
        return lambda data: any(step.may_be(kind, data) for step in self.steps)

    def read(self, kind: str, data: Mapping[str, Any], change: Change | None = None) -> Any:
        """What is kept of an event, see Seen; None: nothing."""
        keys = self.whose(kind, data)
        if keys == []:
            return None
        steps = 0
        asks: dict[int, list[list[Any]]] = {}
        tells: dict[str, Any] = {}
        for number, step in enumerate(self.steps):
            if not step.may_be(kind, data):
                continue
            steps |= 1 << number
            if step.compares:
                asks[number] = [
                    [each.value, each.operator, each.reference, each.ignoring_case]
                    for each in asked(step.compares, data)[0]
                ]
            tells |= kept(self._tells[number], data, TOLD_KEPT)
        return [steps, keys, asks, tells, {}]

    def whose(self, kind: str, data: Mapping[str, Any]) -> Keys:
        """The keys that an event counts for, or WHOLE."""
        if self.rule.per is None:
            return [""]
        if kind not in self._by_key:
            return WHOLE
        if self._keys_of is not None:
            found = self._keys_of(data)[:ITEMS_KEPT]
        else:
            value = data.get(self.rule.per)
            found = [] if value is None or value == "" else [str(value)]
        return found or ([""] if self.rule.shared else [])

    def take(self, memory: Memory, key: str, entry: Entry) -> bool:
        """Note one more. False: it is known already, or nothing to it: what is too old only informs."""
        if entry.value is None or entry.received_at - entry.occurred_at > self._max_age:
            return False
        return super().take(memory, key, entry)

    def bound(self, ledger: Ledger) -> None:
        """Of too many those go that serve a run, then the oldest. What is left of these is when the last occurred."""
        if len(ledger) <= KEPT:
            return
        gone = [entry for entry in ledger if entry.value is not None and entry.value[4]][: len(ledger) - KEPT]
        gone += [entry for entry in ledger if entry not in gone][: len(ledger) - KEPT - len(gone) + 1]
        kept_ones = [entry for entry in ledger if entry not in gone]
        last = max(entry.occurred_at for entry in gone)
        ledger[:] = [Entry(last, 0, "", 0), *kept_ones]
        ledger.sort(key=lambda entry: entry.order)


class Sequence:
    """A rule's sequence, looked at as conditions are (watches.py)."""

    def __init__(self, rule: Any, sequence: model.Sequence, max_age: int, rank: int) -> None:
        self.rule, self.rank, self.name = rule, rank, rule.name
        self.prefix = f"r\0{rule.name}\0"
        self.matcher = Steps(rule, sequence, max_age)
        self._steps, self._within = self.matcher.steps, sequence.within_ms
        self._present = [number for number, step in enumerate(self._steps) if not step.absent]
        last = self._present[-1]
        self._between = [  # before each step but the first: what must not happen
            list(range(before + 1, after)) for before, after in zip(self._present, self._present[1:], strict=False)
        ]
        self._after = list(range(last + 1, len(self._steps)))

    def keys(self, memory: Memory, entry: Entry) -> list[str]:
        """Those of which something may come of an event."""
        seen = Seen(*entry.value)
        if seen.keys is not WHOLE:
            return list(seen.keys)
        ledger = reversed(memory.get(self.matcher.id, []))
        every = (key for each in ledger if each.value is not None for key in each.value[1] or ())
        return [*dict.fromkeys(every)][:KEYS_KEPT]

    def breaks(self, memory: Memory, entry: Entry, at: int, ended: Ended) -> None:
        """An event that must not happen after the last step, received at `at`: what served the run that it breaks is
        free again, if that isn't decided, and nothing else had ended its wait.
        """
        if not self._after or not any(entry.value[0] >> number & 1 for number in self._after):
            return
        candidate = _Candidate(entry, at)
        for key in self.keys(memory, entry):
            runs: dict[Any, list[Entry]] = {}
            for each in memory.get(self.matcher.id, ()):
                if each.value is not None and key in each.value[4]:
                    runs.setdefault(tuple(each.value[4][key][:3]), []).append(each)
            for (due, *_), entries in runs.items():
                told: dict[str, Any] = next(
                    (each.value[4][key][3] for each in entries if len(each.value[4][key]) > 3), {}
                )
                run = Run(tuple(entries), told, False)
                if due + self.rule.lateness >= at and self._broken(run, key, [candidate], ended):
                    for each in entries:
                        del each.value[4][key]

    def completed(self, memory: Memory, key: str, at: int, ended: Ended) -> Iterator[Found]:
        """Runs of a key that are complete by what is received at that moment: the one first that completes first, and
        of several of these the one whose first step is the latest.
        """
        ledger = memory.get(self.matcher.id, [])
        mine = [_Candidate(e, at) for e in ledger if e.value is not None and (e.value[1] is WHOLE or key in e.value[1])]
        new = [each.entry.occurred_at for each in mine if each.new]
        if not new or any(not any(each.steps >> number & 1 for each in mine) for number in self._present):
            return  # nearly always
        mine = [each for each in mine if each.entry.occurred_at >= new[0] - self._within]
        forgot = max((e.occurred_at for e in ledger if e.value is None), default=None)
        while (run := self._first(mine, key, ended)) is not None:
            last = run.entries[-1]
            for entry in run.entries:
                entry.value[4][key] = [last.occurred_at + self.rule.after, last.event_id, last.fingerprint]
            last.value[4][key].append(run.told)
            at_once = [entry.event_id for entry in run.entries[:-1] if entry.occurred_at == last.occurred_at]
            told = {**run.told, AT_ONCE: at_once} if at_once and self._after else run.told
            yield Found(last, told, forgot is not None and forgot >= last.occurred_at - self._within)

    def _first(self, mine: list[_Candidate], key: str, ended: Ended) -> Run | None:
        """Takes them one by one; `open_runs[n]`: those that have found n + 1 steps, and not yet the next, by what they
        told: of several that told the same only the best can come to something.
        """
        most = len(self._present)
        open_runs: list[dict[str, Run]] = [{} for _ in range(most)]
        for each in mine:
            free = key not in each.used
            for place in range(most - 1, -1, -1):
                number = self._present[place]
                if free and each.steps >> number & 1:
                    before = open_runs[place - 1].values() if place else (NONE,)
                    found = [self._with(run, each, number) for run in before if self._fits(run, each, key, number)]
                    if place == most - 1:
                        done = [run for run in found if run.new and not self._broken(run, key, mine, ended)]
                        if done:
                            return max(done, key=lambda run: run.rank)
                    else:
                        _keep_best(open_runs[place], found)
                if place and (there := open_runs[place - 1]):
                    for absent in self._between[place - 1]:
                        if each.steps >> absent & 1:
                            for told in [told for told, run in there.items() if each.meets(run, key, absent)]:
                                del there[told]
        return None

    def _fits(self, run: Run, each: _Candidate, key: str, number: int) -> bool:
        """Whether an event may be the next step of a run."""
        if run.entries and each.entry.occurred_at - run.entries[0].occurred_at > self._within:
            return False
        return each.meets(run, key, number)

    def _with(self, run: Run, each: _Candidate, number: int) -> Run:
        name, own = self._steps[number].name, number == self._present[-1]
        told = {p: v for p, v in each.told.items() if own or (name is not None and p.startswith(f"{name}."))}
        return Run((*run.entries, each.entry), {**run.told, **told} if told else run.told, run.new or each.new)

    def _broken(self, run: Run, key: str, mine: list[_Candidate], ended: Ended) -> bool:
        """Whether what must not happen after the last step does, up to the end of the wait."""
        last = run.entries[-1].occurred_at
        until = last + self.rule.after
        breaking = [
            (each.entry.occurred_at, each.entry.received_at, each.entry.event_id)
            for each in mine
            if last <= each.entry.occurred_at <= until
            and each.entry not in run.entries
            and any(each.steps >> number & 1 and each.meets(run, key, number) for number in self._after)
        ]
        if not breaking:
            return False
        end = ended(self.rule, key, run.entries[-1], run.told)
        return end is None or min(breaking) < end


class _Candidate:
    """An event that may be a step. `new`: it is received now."""

    __slots__ = ("_asks", "entry", "new", "steps", "told", "used")

    def __init__(self, entry: Entry, at: int) -> None:
        seen = Seen(*entry.value)
        self.entry, self.steps, self.told, self.used = entry, seen.steps, seen.told, seen.used
        self.new = entry.received_at == at
        self._asks = {
            number: [(start_path(each[2]), Asked(*each)) for each in asks] for number, asks in seen.asks.items()
        }

    def meets(self, run: Run, key: str, number: int) -> bool:
        """Whether it compares with what a run has told as that step asks."""
        for path, ask in self._asks.get(number, ()):
            wanted = key if path is None else run.told.get(path)
            if type(wanted) is type(ask.value) is str and ask.operator == "is" and not ask.ignoring_case:
                if wanted != ask.value:  # nearly all that compare
                    return False
            elif not met(ask, wanted):
                return False
        return True


def _keep_best(runs: dict[str, Run], more: list[Run]) -> None:
    """The later its first step the better. Of too many that told different things, the one longest unchanged goes."""
    for run in more:
        told = repr((run.told, run.new))
        known = runs.pop(told, None)
        runs[told] = run if known is None or run.rank > known.rank else known
        if len(runs) > RUNS_KEPT:
            del runs[next(iter(runs))]

"""What holds of the identity graph whatever is asked of it, in whatever order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.identity.asks import Answer, Ask
from pipeline.identity.graph import Graph, PublicLogin, compile_namespaces
from pipeline.identity.ids import leaf_id
from pipeline.topology.model import Identifiers, Namespace

ORDER = ["user_id", "crm_id", "email", "anonymous_id", "device_id"]


def identifiers(*, unique: bool, limits: bool) -> Identifiers:
    return Identifiers(
        namespaces=(
            Namespace(name="user_id", priority=1, unique=unique),
            Namespace(name="crm_id", priority=2, unique=unique),
            Namespace(name="email", priority=3, limit=2 if limits else None),
            Namespace(name="anonymous_id", priority=4, limit=3 if limits else None, device=True),
            Namespace(name="device_id", priority=5, device=True),
        ),
        blocked=frozenset(),
    )


FREE = compile_namespaces(identifiers(unique=False, limits=False))
LIMITED = compile_namespaces(identifiers(unique=False, limits=True))
STRICT = compile_namespaces(identifiers(unique=True, limits=True))

Ids = dict[str, int]
some_ids = st.dictionaries(st.sampled_from(ORDER), st.integers(0, 5), min_size=1)
times = st.integers(0, 60)
# (identifiers, received at, how long before that it occurred)
events = st.lists(st.tuples(some_ids, times, st.sampled_from([0, 0, 5, 100])), max_size=40)


def ask(offset: int, ids: Ids, received_at: int = 0, delay: int = 0) -> Ask:
    flat = [part for name in ORDER if name in ids for part in (name, str(ids[name]), leaf_id(name, str(ids[name])))]
    return Ask(offset, max(0, received_at - delay), received_at, flat)


def every_leaf() -> list[str]:
    return [leaf_id(name, str(value)) for name in ORDER for value in range(6)]


def sets_by_hand(ties: Iterable[Ids]) -> dict[str, frozenset[str]]:
    """Leaf -> its connected component, the slow way."""
    found = {leaf: frozenset([leaf]) for leaf in every_leaf()}
    for ids in ties:
        union = frozenset().union(*(found[leaf] for leaf in ask(0, ids).ids[2::3]))
        found.update(dict.fromkeys(union, union))
    return found


@given(st.lists(some_ids, max_size=20), st.randoms(use_true_random=False))
def test_without_conflicts_the_order_of_linking_does_not_matter(ties: list[Ids], rnd: random.Random) -> None:
    expected = sets_by_hand(ties)
    for _ in range(2):
        graph = Graph()
        for offset, ids in enumerate(ties):
            answer = graph.resolve("s", ask(offset, ids), FREE)
            assert answer.refused == []
            assert answer.ids[::2] == [name for name in ORDER if name in ids]
        for leaf, members in expected.items():
            assert graph.root(leaf) == min(members)
            stored = graph.members.get(graph.root(leaf))
            assert {member.leaf for member in stored} == members if stored else members == {leaf}
        rnd.shuffle(ties)


@pytest.mark.parametrize("namespaces", [LIMITED, STRICT], ids=["limited", "strict"])
@given(events, st.integers(1, 3))
def test_no_set_ever_holds_more_than_a_household_or_a_limit(
    namespaces: dict[str, object], asked: list[tuple[Ids, int, int]], household: int
) -> None:
    table = STRICT if namespaces is STRICT else LIMITED
    graph = Graph(household)
    for offset, (ids, received_at, delay) in enumerate(asked):
        answer = graph.resolve("s", ask(offset, ids, received_at, delay), table)
        sets: dict[str, list[str]] = {}
        for name in ORDER:
            for number in range(6):
                sets.setdefault(graph.root(leaf_id(name, str(number))), []).append(name)
        for root, names in sets.items():
            counts = Counter(names)
            persons = max([1, *(count for name, count in counts.items() if table[name].unique)])
            for name, count in counts.items():
                flags = table[name]
                assert count <= (household if flags.unique else (flags.limit or 99) * persons), (root, name)
        assert {*answer.refused[2::3]} <= {"unique", "limit"}
        for name, value in zip(answer.ids[::2], answer.ids[1::2], strict=True):
            assert graph.root(leaf_id(name, value)) == answer.root


@given(events)
def test_roots_members_and_links_fit_together(asked: list[tuple[Ids, int, int]]) -> None:
    graph = Graph()
    for offset, (ids, received_at, delay) in enumerate(asked):
        graph.resolve("s", ask(offset, ids, received_at, delay), STRICT)
    assert all(loser > link.parent for loser, link in graph.links.items())
    for root, members in graph.members.items():
        leaves = [member.leaf for member in members]
        assert len(leaves) == len(set(leaves)) > 1
        assert root == min(leaves)
        assert {graph.root(leaf) for leaf in leaves} == {root}
        assert all((member.value is not None) == STRICT[member.namespace].unique for member in members)
    linked = {leaf for loser, link in graph.links.items() for leaf in (loser, link.parent)}
    assert linked == {member.leaf for members in graph.members.values() for member in members}


@given(events)
def test_asking_again_changes_nothing(asked: list[tuple[Ids, int, int]]) -> None:
    """A batch whose reply was lost is asked again, whole."""
    graph = Graph()
    batch = [ask(offset, *each) for offset, each in enumerate(asked)]
    first = [graph.resolve("s", each, STRICT) for each in batch]
    roots = {leaf: graph.root(leaf) for leaf in every_leaf()}
    shared = graph.shared
    again = [graph.resolve("s", each, STRICT) for each in batch]
    for before, after in zip(first, again, strict=True):
        # Not the reason: what a limit refused may meanwhile belong to somebody else; or to somebody of the household.
        refused = [set(zip(each.refused[::3], each.refused[1::3], strict=True)) for each in (before, after)]
        assert refused[1] <= refused[0] or not after.cacheable
    told_first, told_again = told(batch, first), told(batch, again)
    assert all(told_again[pair] <= at for pair, at in told_first.items()), "what it told it tells again, no later"
    for leaf, root in roots.items():  # a household that formed meanwhile may take in what conflicted before
        assert graph.root(leaf) == graph.root(root)
        assert graph.root(leaf) == root or any(not kept for kept in (each.refused == [] for each in first))
    assert graph.shared >= shared
    # A login that said nothing new may do so after others that arrived later. There are only so many: it ends.
    for _ in batch:
        for each in batch:
            graph.resolve("s", each, STRICT)
    hand_overs = graph.logins.copy()
    for each in batch:
        graph.resolve("s", each, STRICT)
    assert graph.logins == hand_overs


def told(asks: list[Ask], answers: list[Answer]) -> dict[tuple[str, str], int]:
    """Link -> the earliest received_at with which it was told."""
    found: dict[tuple[str, str], int] = {}
    for each, answer in zip(asks, answers, strict=True):
        for pair in _pairs(answer):
            found[pair] = min(each.received_at, found.get(pair, each.received_at))
    return found


def _pairs(answer: Answer) -> list[tuple[str, str]]:
    return list(zip(answer.merges[::2], answer.merges[1::2], strict=True))


class Run:
    """Two sources, each worked off in batches. A worker may die between the graph and the log: its answers are lost,
    and the batch is asked again from the same offset, while the other source goes on. Both sources share a cache, as in
    one process; `drop_routes` empties it at a claim, and the other source may fill it again before the batch is asked.
    """

    def __init__(self, rnd: random.Random) -> None:
        self.random = rnd
        self.graph = Graph()
        self.logs = {source: self.events(rnd.randint(1, 25)) for source in "ab"}
        self.positions = {"a": 0, "b": 0}
        self.told: dict[tuple[str, str], int] = {}
        self.routed: list[tuple[int, list[tuple[str, str]]]] = []
        self.cache: dict[str, tuple[str, int, list[tuple[str, str]]]] = {}

    def events(self, count: int) -> list[Ask]:
        made = []
        values, share = self.random.choice([(3, 0.5), (3, 0.3), (6, 0.3)])
        jitter = self.random.choice([2, 3 * count])
        for offset in range(count):
            ids = {name: self.random.randrange(values) for name in ORDER if self.random.random() < share}
            ids = ids or {"user_id": self.random.randrange(values)}
            made.append(ask(offset, ids, 3 * offset + self.random.randint(0, jitter)))
        return made

    def path(self, leaf: str) -> list[tuple[str, str]]:
        found = []
        while link := self.graph.links.get(leaf):
            found.append((leaf, link.parent))
            leaf = link.parent
        return found

    def step(self) -> bool:
        """One batch of one source. False: all is done."""
        waiting = [source for source, log in self.logs.items() if self.positions[source] < len(log)]
        if not waiting:
            return False
        source = self.random.choice(waiting)
        start = self.positions[source]
        batch = self.logs[source][start : start + self.random.randint(1, 4)]
        done = []
        for each in batch:
            cached = [self.cache.get(leaf, ("", 1 << 60, [])) for leaf in each.ids[2::3]]
            # As in `Intake.route`. At the youngest link's own time it may be the tie itself, which was not told yet.
            if len({root for root, _, _ in cached}) == 1 and all(each.received_at > known[1] for known in cached):
                links = [link for known in cached for link in known[2]]
                done.append((each.received_at, Answer("", [], 0, False, [], []), links))
                continue
            answer = self.graph.resolve(source, each, STRICT)
            values = zip(answer.ids[::2], answer.ids[1::2], strict=True)
            links = [link for name, value in values for link in self.path(leaf_id(name, value))]
            done.append((each.received_at, answer, links))
            if answer.cacheable:
                for name, value in zip(answer.ids[::2], answer.ids[1::2], strict=True):
                    leaf = leaf_id(name, value)
                    self.cache[leaf] = (answer.root, answer.youngest, self.path(leaf))
        if self.random.random() < 0.3:
            self.cache.clear()
            return True
        self.positions[source] += len(batch)
        for received_at, answer, links in done:
            for pair in _pairs(answer):
                self.told[pair] = min(received_at, self.told.get(pair, received_at))
            self.routed.append((received_at, links))
        return True


def test_nobody_is_routed_over_a_link_that_was_not_told_by_then() -> None:
    """Whatever crashed: every row's way to its root was told by something received no later than the row."""
    for seed in range(400):
        run = Run(random.Random(seed))
        while run.step():
            pass
        for received_at, links in run.routed:
            for link in links:
                assert run.told.get(link, received_at + 1) <= received_at, f"seed {seed}"


def test_a_tie_is_told_again_at_its_position_and_before_it_but_not_after_it() -> None:
    graph = Graph()
    tie = {"user_id": 1, "email": 1}
    pair = _pairs(graph.resolve("a", ask(5, tie, 50), STRICT))
    assert len(pair) == 1
    assert _pairs(graph.resolve("a", ask(6, tie, 51), STRICT)) == []
    assert _pairs(graph.resolve("a", ask(5, tie, 50), STRICT)) == pair, "the same batch again"
    assert _pairs(graph.resolve("a", ask(4, tie, 60), STRICT)) == pair, "earlier in the same source"
    assert _pairs(graph.resolve("b", ask(4, tie, 60), STRICT)) == [], "another source, later"
    (loser, _), = pair  # fmt: skip
    only_loser = {"user_id": 1} if loser == leaf_id("user_id", "1") else {"email": 1}
    assert _pairs(graph.resolve("b", ask(9, only_loser, 49), STRICT)) == pair, "routes through a younger link"
    assert _pairs(graph.resolve("b", ask(10, only_loser, 49), STRICT)) == pair, "and does not tie by that"
    answer = graph.resolve("b", ask(11, tie, 49), STRICT)
    assert (_pairs(answer), answer.youngest) == (pair, 50), "an earlier tie is told"
    assert graph.links[loser].received_at == 49
    assert _pairs(graph.resolve("c", ask(12, only_loser, 49), STRICT)) == [], "and kept"
    assert _pairs(graph.resolve("b", ask(11, tie, 49), STRICT)) == pair, "with its position"


def test_only_the_identifier_that_conflicts_is_left_out() -> None:
    graph = Graph()
    graph.resolve("a", ask(0, {"user_id": 1, "email": 1}), STRICT)
    answer = graph.resolve("a", ask(1, {"user_id": 2, "email": 1, "anonymous_id": 4, "device_id": 5}), STRICT)
    assert answer.ids == ["user_id", "2", "anonymous_id", "4", "device_id", "5"]
    assert answer.refused == ["email", "1", "unique"]


def test_past_a_limit_the_newcomer_is_refused() -> None:
    graph = Graph()
    for email in (1, 2):
        assert graph.resolve("a", ask(email, {"user_id": 1, "email": email}), STRICT).refused == []
    answer = graph.resolve("a", ask(3, {"user_id": 1, "email": 3, "anonymous_id": 1}), STRICT)
    assert answer.refused == ["email", "3", "limit"]
    assert answer.ids == ["user_id", "1", "anonymous_id", "1"]


@given(st.lists(st.tuples(times, st.integers(0, 3)), min_size=1, max_size=20), times)
def test_a_device_is_whose_last_login_was(logins: list[tuple[int, int]], at: int) -> None:
    graph = Graph()
    listed = sorted(PublicLogin(time, leaf_id("user_id", str(user)), "user_id", str(user)) for time, user in logins)
    graph.logins["device"] = tuple(listed)
    before = [login for login in listed if login.at <= at]
    assert graph.owner("device", at) == (before[-1] if before else listed[0])


def test_a_copy_is_independent() -> None:
    graph = Graph()
    graph.resolve("a", ask(0, {"user_id": 1, "anonymous_id": 1}), STRICT)
    copy = graph.copy()
    graph.resolve("a", ask(1, {"user_id": 2, "anonymous_id": 1, "email": 1}), STRICT)
    assert copy.root(leaf_id("email", "1")) == leaf_id("email", "1")
    assert copy.root(leaf_id("user_id", "2")) == leaf_id("user_id", "2")
    assert graph.root(leaf_id("user_id", "2")) == graph.root(leaf_id("user_id", "1"))


@pytest.mark.parametrize(
    "namespaces",
    [
        (Namespace(name="cookie", priority=1, device=True), Namespace(name="user_id", priority=2, unique=True)),
        (Namespace(name="user_id", priority=1, unique=True, device=True),),
    ],
)
def test_a_device_can_not_be_stronger_than_a_person(namespaces: tuple[Namespace, ...]) -> None:
    with pytest.raises(ValueError, match="user_id"):
        compile_namespaces(Identifiers(namespaces=namespaces, blocked=frozenset()))


def test_leaf_ids_never_change() -> None:
    """They are in every deployed store: these are for ever."""
    assert leaf_id("user_id", "1") == "7wt5ouube2hzgprv"
    assert leaf_id("email", "zoë@example.com") == "emexy3njorn4l7qa"
    assert leaf_id("a", "b") != leaf_id("ab", "")

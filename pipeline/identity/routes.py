"""Where identifiers led when they were last looked up: what spares most events a question to the graph.

Caches, and nothing else: whoever drops them asks again.
"""

from __future__ import annotations

import msgspec

from pipeline.errors import InvalidEvent
from pipeline.events.compiled import BIND
from pipeline.identity.asks import Answer
from pipeline.identity.identifiers import Normaliser
from pipeline.topology.model import Identifiers

ROUTES_KEPT = 400_000  # identifiers of a namespace, at most


class Known(msgspec.Struct, gc=False):
    """An identifier that this process has met: normalised, and where it led when it was last looked up.

    `root` may be stale (then the owner forwards), and counts only for events received after `youngest`, the
    youngest link on its path: an earlier one has to tell that link again. `partition`: the root's. `implied`: an
    identifier that this one names too: the address of a user id that is one. There may be 400,000 of a namespace, each
    met when no cache of the processor holds it any more: no more objects than needed.
    """

    namespace: str
    value: str
    root: str | None = None
    youngest: int = 0
    partition: int = 0
    implied: Known | None = None


if BIND is not None:
    BIND(Known)


Asked = list[Known]
"""Whom to ask the graph about: the identifiers of one event, strongest first."""


class Routes:
    """What one process knows of identifiers.

    `known`: by namespace, by value as it was told or normalised; None: it identifies nobody. The compiled reader looks
    into it.
    """

    def __init__(self, identifiers: Identifiers) -> None:
        names = [namespace.name for namespace in identifiers.namespaces]
        self._normaliser = Normaliser(identifiers)
        self._devices = frozenset(namespace.name for namespace in identifiers.namespaces if namespace.device)
        self.known: dict[str, dict[str, Known | None]] = {name: {} for name in names}
        self._aged: dict[str, dict[str, Known | None]] = {name: {} for name in names}
        self._names = {name: name for name in names}

    def route(self, raw: dict[str, str], received_at: int) -> tuple[str, list[str], list[str], Asked | None]:
        """Whose an event with these identifiers is that was received then: the root's id, its ids and those of them
        that it carried itself, both flat [namespace, value, ...]; or no root, and whom to ask the graph about.

        Raises InvalidEvent(`no_identifier`).
        """
        if len(raw) == 1:
            ((namespace, told),) = raw.items()
            one = self.known.get(namespace, {}).get(told)
            if one is not None and one.root is not None and received_at > one.youngest and one.implied is None:
                ids = [one.namespace, one.value]  # nine of ten
                return one.root, ids, ids, None
        known = self.identify(raw)
        carried = ids = _flat(known)
        if any(each.implied is not None for each in known):
            known = self.with_implied(known)
            ids = _flat(known)
        root = known[0].root
        if root is not None and all(each.root == root and received_at > each.youngest for each in known):
            return root, ids, carried, None
        return "", ids, carried, known

    def identify(self, raw: dict[str, str]) -> list[Known]:
        """What is known of an event's identifiers, the strongest first. Raises InvalidEvent(`no_identifier`)."""
        out = []
        for namespace, told in raw.items():
            cache = self.known.get(namespace)
            if cache is None:
                continue
            known = cache.get(told)
            if known is None:
                if told in cache:
                    continue
                aged = self._aged[namespace]
                if told in aged:
                    known = aged.pop(told)
                    self._keep(namespace, told, known)
                else:
                    value = self._normaliser.value(namespace, told)
                    known = None if value is None else self._known(namespace, value)
                    if value != told:
                        self._keep(namespace, told, known)
                if known is None:
                    continue
            out.append(known)
        if len(out) != 1:
            if not out:
                raise InvalidEvent("no_identifier", f"nothing in {raw!r:.200} identifies a person or device")
            rank = self._normaliser.rank
            out.sort(key=lambda k: rank[k.namespace])
        return out

    def _known(self, namespace: str, value: str) -> Known:
        """The identifier of that normalised value."""
        known = self.known[namespace].get(value)
        if known is None:
            known = self._aged[namespace].pop(value, None)
            if known is None:
                known = Known(self._names[namespace], value)
                implied = self._normaliser.implied(namespace, value)
                if implied is not None and implied[0] in self.known:
                    known.implied = self._known(*implied)
            self._keep(namespace, value, known)
        return known

    def _keep(self, namespace: str, told: str, known: Known | None) -> None:
        if len(self.known[namespace]) >= ROUTES_KEPT // 2:
            self._age(namespace)
        self.known[namespace][told] = known

    def age(self) -> None:
        """Let go of the identifiers that weren't met since this was called last."""
        for namespace in self.known:
            self._age(namespace)

    def _age(self, namespace: str) -> None:
        self._aged[namespace], self.known[namespace] = self.known[namespace], {}

    def with_implied(self, known: list[Known]) -> list[Known]:
        """With what they name besides, the strongest first; of one namespace what was told before what is implied."""
        rank = self._normaliser.rank
        more = [each.implied for each in known if each.implied is not None]
        told = {(each.namespace, each.value) for each in known}
        more = [each for each in more if (each.namespace, each.value) not in told]
        return sorted([*known, *more], key=lambda each: rank[each.namespace])

    def learn(self, asked: Asked, answer: Answer, partition: int) -> None:
        """Where these lead, as the graph said: to a profile that `partition` owns."""
        root, youngest, accepted = answer.root, answer.youngest, answer.ids
        if answer.cacheable and len(accepted) == 2 * len(asked):  # nearly always
            for known in asked:
                known.partition, known.root, known.youngest = partition, root, youngest
            return
        pairs = list(zip(accepted[::2], accepted[1::2], strict=True))
        for known in asked:
            known.partition = partition
            is_in = (known.namespace, known.value) in pairs
            # A public device belongs to whoever had it at the event's time: always asked.
            known.root = root if is_in and (answer.cacheable or known.namespace not in self._devices) else None
            known.youngest = youngest

    def drop(self) -> None:
        """Forget: somebody else changed whose a device is, or the store fell back."""
        for cache in (*self.known.values(), *self._aged.values()):
            cache.clear()


def _flat(known: list[Known]) -> list[str]:
    return [part for each in known for part in (each.namespace, each.value)]

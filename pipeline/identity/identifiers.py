"""Which of an event's identifiers say who it was, in what form, strongest first."""

from __future__ import annotations

from pipeline.topology.model import Identifiers


class Normaliser:
    """Usable values. `rank`: namespace -> place, strongest first.

    Values are trimmed, lower-cased where the topology says so, and dropped when blocked (compared in lower case).
    Namespaces that the topology doesn't know identify nobody.
    """

    def __init__(self, identifiers: Identifiers) -> None:
        ordered = sorted(identifiers.namespaces, key=lambda n: n.priority)
        self.rank = {n.name: i for i, n in enumerate(ordered)}
        self._lower = {n.name for n in ordered if n.lowercase}
        self._blocked = identifiers.blocked

    def implied(self, namespace: str, value: str) -> tuple[str, str] | None:
        """Filled in elsewhere."""
        return None

    def value(self, namespace: str, raw: str) -> str | None:
        """The value as it identifies, or None when it doesn't."""
        if namespace not in self.rank:
            return None
        value = raw.strip()
        if namespace in self._lower:
            value = value.lower()
        return None if not value or value.lower() in self._blocked else value

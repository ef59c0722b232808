"""Records of `identity.resolved` as the second hop takes them: which are ours, and what of them can be read.

What isn't ours, or can't be read, stops nobody: it becomes a dead letter, and where the books can be read
(wire/records.py), they are kept as if it had been.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from pipeline.errors import InvalidEvent, StateLost
from pipeline.profile import format2
from pipeline.profile.packed import PackedRow, readable_rows, rows_of
from pipeline.runtime import dead_letters
from pipeline.runtime.ports import In, Out, Unreadable
from pipeline.topology.model import Topology
from pipeline.wire.records import Forward, Move, Resolved, Seal

log = logging.getLogger(__name__)

STAGE = "maintain_profile"
OTHERS_NAMED = 20
UNREADABLE = (ValueError, msgspec.MsgspecError)

Message = Resolved[PackedRow] | Move | Forward[PackedRow]


class Incoming:
    """Reads the records of one partition, and gathers dead letters: `size` bytes since the last commit. `at`: offset of
    the record in hand. `earlier`: before this offset records of format 2 may stand, which have no headers.

    Of another deployment, which may share the topic or have come before this one, the first record is a dead letter,
    and the others are only counted: they are no less where they belong.
    """

    def __init__(self, topology: Topology, partition: int) -> None:
        self._topic = topology.topics.resolved.name
        self._dead_letters = topology.topics.dead_letters.name
        self._partition = partition
        self._seal = Seal(topology.group)
        self._others: set[str] = set()
        self._dead: list[Out] = []
        self._reasons: list[str] = []
        self.size = 0
        self.at = 0
        self.earlier = 0

    def open(self, record: In) -> Message | None:
        """What a record says; None: nothing to us. Raises StateLost for one of ours in another format."""
        if isinstance(record, Unreadable):
            self._refuse(record.first, record.error, None, record.packed, record.place)
            return None
        value = record.value or b""
        try:
            message = self._seal.books(record.headers)
        except StateLost as lost:
            raise StateLost(f"{self._topic}-{self._partition}, offset {record.offset}: {lost}") from None
        except InvalidEvent as error:
            if error.reason == "foreign" and record.offset < self.earlier:
                with suppress(*UNREADABLE):
                    return format2.message(value)
            if error.reason != "other_deployment" or self._first_of(error.detail):
                self.refuse(record, error)
            else:
                self._reasons.append(error.reason)
            return None
        try:
            if isinstance(message, Resolved):
                message.rows = self._rows(record, value)
            elif isinstance(message, Move):
                message.profile = value
            else:
                message.row = PackedRow(value)
        except UNREADABLE as problem:
            self.unreadable(record, problem)
        return message

    def _first_of(self, deployment: str) -> bool:
        if deployment in self._others or len(self._others) == OTHERS_NAMED:
            return False
        self._others.add(deployment)
        return True

    def _rows(self, record: In, value: bytes) -> list[PackedRow]:
        try:
            return rows_of(value)
        except UNREADABLE:
            rows, bad = readable_rows(value)
        self.at = record.offset
        for raw, problem in bad:
            self.refuse_row(raw, InvalidEvent("unreadable_row", str(problem)[:500]))
        return rows

    def unreadable(self, record: In, problem: Exception) -> None:
        """The value of one of ours can't be read."""
        self.refuse(record, InvalidEvent("unreadable", f"the value can't be read: {str(problem)[:500]}"))

    def refuse(self, record: In, error: InvalidEvent) -> None:
        """The record becomes a dead letter, as it is."""
        self._refuse(record.offset, error, record.key, record.value, record.headers)

    def refuse_row(self, raw: bytes, error: InvalidEvent) -> None:
        """A row of the record in hand becomes a dead letter."""
        self._refuse(self.at, error, None, raw, ())

    def refuse_profile(self, profile_id: str, raw: bytes, error: InvalidEvent) -> None:
        """All that is known of a profile becomes a dead letter."""
        self._refuse(self.at, error, profile_id.encode(), raw, ())

    def _refuse(
        self,
        offset: int,
        error: InvalidEvent,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
    ) -> None:
        log.warning("%s-%d offset %d: not taken: %s", self._topic, self._partition, offset, str(error))
        told = dead_letters.headers(self._topic, self._partition, offset, STAGE, error, None)
        self._dead.append(Out(self._dead_letters, None, key, value, [*headers, *told]))
        self.size += len(value or b"")
        self._reasons.append(error.reason)

    def letters(self) -> list[Out]:
        """Dead letters since `take`."""
        return self._dead

    def mark(self) -> tuple[int, int, int]:
        """How far they are, for `back_to`."""
        return len(self._dead), len(self._reasons), self.size

    def back_to(self, mark: tuple[int, int, int]) -> None:
        """Nothing was refused since."""
        dead, reasons, self.size = mark
        del self._dead[dead:], self._reasons[reasons:]

    def take(self) -> Counter[str]:
        """They are committed. Returns how many were refused, or skipped, by reason."""
        reasons = Counter(self._reasons)
        self._dead, self._reasons, self.size = [], [], 0
        return reasons

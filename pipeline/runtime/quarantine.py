"""Profiles that can't be computed: what they do raises, by a mistake of ours or by what somebody has sent.

Such a profile is shut: it stays as it was stored, what comes for it is kept beside it, and all others go on. It is
named in the log, in the partition's books, and in a dead letter that holds all of it. Each owner tries it once more
when it has claimed the partition: a restart with a version that can compute it takes it out, and what was kept counts
as if nothing had been.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress

from pipeline.errors import InvalidEvent
from pipeline.flow import Upkeep
from pipeline.profile.marks import Moved, Quarantined, decode_mark, is_mark
from pipeline.profile.packed import PackedRow
from pipeline.profile.profile import Profile, State, decode, encode_profile, new_profile
from pipeline.runtime.incoming import UNREADABLE

log = logging.getLogger(__name__)

KEPT_BYTES = 200_000  # of rows that come for one; those behind it become dead letters
WHY_LENGTH = 300
NAMED = 1_000  # in the books of a partition; what is shut beyond that is tried when something comes for it


class Quarantine:
    """Of one partition. `suspects`: profile id -> why, of those that raised since the claim. `fresh`: those shut since
    the last commit, as they are. `upkeep`: as the partition's owner counts; `decode`: how it reads a profile.
    """

    def __init__(self, upkeep: Upkeep, name: str) -> None:
        self.upkeep = upkeep
        self.decode: Callable[[bytes], State] = decode
        self._name = name
        self.suspects: dict[str, str] = {}
        self.fresh: dict[str, Quarantined] = {}

    def suspect(self, profile_id: str, problem: Exception) -> None:
        """It raised."""
        if profile_id not in self.suspects:
            self.suspects[profile_id] = f"{type(problem).__name__}: {problem}"[:WHY_LENGTH]
            log.error("%s: profile %s is quarantined: %r", self._name, profile_id, problem, exc_info=problem)

    def read(self, profile_id: str, raw: bytes | None, now: int) -> State | None:
        """What is stored, as it is to be taken: what raised is shut, and what was shut is tried once more."""
        if profile_id not in self.suspects:
            if raw is None:
                return None
            try:
                state = self.decode(raw)
                return self._opened(state) if isinstance(state, Quarantined) else state
            except Exception as problem:
                self.suspect(profile_id, problem)
        why = self.suspects[profile_id]
        if raw is not None and is_mark(raw):
            with suppress(*UNREADABLE):
                mark: State = decode_mark(raw)
                if isinstance(mark, Quarantined):
                    mark.why = why
                return mark
        return self.shut(profile_id, Quarantined(why, now, now, [] if raw is None else [raw]))

    def shut(self, profile_id: str, state: Quarantined) -> Quarantined:
        """It is shut from now on."""
        self.fresh[profile_id] = state
        return state

    def _opened(self, state: Quarantined) -> Profile:
        """As if nothing had been."""
        profile: Profile | None = None
        for raw in state.profiles:
            one = self.decode(raw)
            if not isinstance(one, Profile):
                raise ValueError(f"not a profile: {raw[:100]!r}")
            profile = one if profile is None else self.upkeep.merge(profile, one)
        profile = profile or new_profile()
        for row in state.rows:
            self.upkeep.receive(profile, PackedRow(row))
        return profile

    @staticmethod
    def inside(state: Profile | Quarantined, read: Callable[[bytes], State] = decode) -> Iterator[Profile]:
        """The profiles that it is, as far as they can be read."""
        if isinstance(state, Profile):
            yield state
            return
        for raw in state.profiles:
            try:
                one = read(raw)
                if isinstance(one, Profile):
                    one.persons  # noqa: B018 - whether they can be read
                    yield one
            except Exception as problem:
                log.debug("what is shut can't be read: %r", problem)

    def join(self, state: State | None, other: Profile | Quarantined, now: int) -> Quarantined:
        """Two profiles that are one, of which one is shut: both are."""
        shut = state if isinstance(state, Quarantined) else other
        assert isinstance(shut, Quarantined)
        open_one = other if shut is state else state
        if isinstance(open_one, Quarantined):
            profiles, rows = [*shut.profiles, *open_one.profiles], [*shut.rows, *open_one.rows]
        else:
            assert not isinstance(open_one, Moved)
            profiles = shut.profiles if open_one is None else [*shut.profiles, encode_profile(open_one)]
            rows = shut.rows
        return Quarantined(shut.why, shut.since, now, profiles, rows, sum(map(len, rows)))

    def keep(self, state: Quarantined, row: PackedRow) -> bool:
        """Put a row beside it; False where there is no room for it."""
        if state.size + len(row.raw) > KEPT_BYTES:
            return False
        state.rows.append(row.raw)
        state.size += len(row.raw)
        state.last = max(state.last, row.received_at)
        return True

    def letters(self) -> list[tuple[str, InvalidEvent, bytes]]:
        """A dead letter for each that is shut now: profile id, why, all of it."""
        return [
            (profile_id, InvalidEvent("quarantined", f"profile {profile_id}: {state.why}"), encode_profile(state))
            for profile_id, state in self.fresh.items()
        ]

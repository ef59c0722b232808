"""A `pipeline` with something switched off from outside: a protection, to show that the crash test would notice.

python -m tests.chaos.crippled WHAT worker --topology FILE

The production code has no such switches: they are patched in here, before the command line runs.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Sequence
from typing import Any

from pipeline import cli
from pipeline.runtime import hops, producers
from pipeline.runtime.ports import Out
from pipeline.store import redis_store


def no_token() -> None:
    """Commits, reads and graph scripts take any token."""
    replace = {
        "check": [
            ("if token ~= ARGV[2] or first ~= tail or trim > tail + added then", "if false then"),
            ("local first, added, trim = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])",
             "local added, trim = tonumber(ARGV[5]), math.min(tonumber(ARGV[6]), tail)"),
        ],
        "load": [("if token ~= ARGV[1] then", "if false then")],
        "due": [("if token ~= ARGV[1] then", "if false then")],
        "resolve": [("if not stored or (stored ~= ARGV[2] and stored ~= ARGV[3]) then", "if false then")],
    }  # fmt: skip
    real = redis_store._Script.__init__

    def init(self: Any, name: str) -> None:
        real(self, name)
        for old, new in replace.get(name, []):
            assert old in self.source, f"{name}.lua has changed: {old!r} isn't there"
            self.source = self.source.replace(old, new)
        self.digest = redis_store.hashlib.sha1(self.source.encode()).hexdigest()

    redis_store._Script.__init__ = init  # type: ignore[method-assign]


class HalfSender(producers.PlainSender):
    """No transactions; and now and then, in the middle of a big batch, the power goes."""

    async def send(self, messages: Sequence[Out]) -> None:
        rows = sum(len(out.value or b"") for out in messages)
        if rows > 6_000 and random.random() < 0.15:
            some = random.sample(list(messages), len(messages) // 2)
            await super().send(some)
            os.kill(os.getpid(), signal.SIGKILL)
        await super().send(messages)


def no_transactions() -> None:
    """The first hop's records of a batch go out one by one."""

    def named(self: producers.Producers, name: str) -> producers.ClosableSender:
        return HalfSender(self._bootstrap, deadline_s=self._deadline_s)

    producers.Producers.named = named  # type: ignore[method-assign]


def source_watermark() -> None:
    """Each partition decides by what it has read itself, whatever the others have."""

    async def advance(self: hops.Hops) -> None:
        for tp, hop in self._partitions.items():
            clock = min(hop.meta.marks.get(name, 0) for name in self._sources_waited_for)
            if clock > hop.meta.clock and tp not in self._busy and hop.may_advance():
                self._submit(tp, hop, hops.partial(hop.advance, clock))

    hops.Hops._advance = advance  # type: ignore[method-assign]


def no_household() -> None:
    """Nobody shares a profile: whose a device is goes by the logins that were read by then."""
    real = redis_store.RedisGraphStore.__init__

    def init(self: Any, redis: Any, prefix: str, identifiers: Any, **more: Any) -> None:
        real(self, redis, prefix, identifiers, **{**more, "household": 1})

    redis_store.RedisGraphStore.__init__ = init  # type: ignore[method-assign, assignment]


OFF = {
    "token": no_token,
    "transactions": no_transactions,
    "source-watermark": source_watermark,
    "household": no_household,
}

LAUNCHER = [sys.executable, "-m", "tests.chaos.crippled"]

if __name__ == "__main__":
    OFF[sys.argv.pop(1)]()
    cli.main()

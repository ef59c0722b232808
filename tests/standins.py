"""Stand-ins that more than one test needs: a clock that is moved by hand, a server that is some way off. Those that
keep what hops do are in `effects.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any


class Hand:
    """A clock moved by hand, in seconds."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class Pause:
    """Where whoever runs several steps may let another one go on."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Away:
    """A store, or another port, some way off: `before` and `after` each of its calls something may happen. They are
    told its name, and its arguments.
    """

    def __init__(
        self,
        real: Any,
        before: Callable[[str, tuple[Any, ...]], Awaitable[None]],
        after: Callable[[str, tuple[Any, ...]], Awaitable[None]],
    ) -> None:
        self._real, self._before, self._after = real, before, after

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._real, name)

        async def call(*args: Any) -> Any:
            await self._before(name, args)
            result = await method(*args)
            await self._after(name, args)
            return result

        return call

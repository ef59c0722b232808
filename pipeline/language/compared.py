"""Conditions on things of which a person may have several, such as carts and films: whether there is one of which all
that is compared holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pipeline.language import compare
from pipeline.language.condition import OfOne
from pipeline.language.memory import Moment


class Compared(OfOne):
    """`tests`: what is told of a thing -> what it is compared with; `compiled`: the same, to ask. Who extends it says
    which things there are, and what is told of one, in numbers and in words.
    """

    nothing = "there is none"
    it_is = "it is"

    def __init__(self, tests: Mapping[str, Mapping[str, Any]], compiled: Mapping[str, compare.Test]) -> None:
        self._tests, self._compiled = tests, compiled

    def things(self, now: Moment) -> Collection[Any]:
        """Those that there are."""
        raise NotImplementedError

    def told(self, name: str, thing: Any) -> Any:
        """A number that is told of one; None: it isn't."""
        raise NotImplementedError

    def says(self, name: str, number: Any) -> str:
        """That in words."""
        raise NotImplementedError

    def _is_so(self, thing: Any) -> bool:
        for name, test in self._compiled.items():
            number = self.told(name, thing)
            if number is None or not test(number):
                return False
        return True

    def holds(self, now: Moment) -> bool:
        """Of one and the same."""
        return any(map(self._is_so, self.things(now)))

    def fails(self, now: Moment) -> str:
        """What it is instead, if there is only one."""
        found = [*self.things(now)]
        if any(map(self._is_so, found)):
            return ""
        if len(found) != 1:
            return f"{self}, and {'none is so' if found else self.nothing}"
        return f"{self}, and {self.it_is} " + ", ".join(
            self.says(name, self.told(name, found[0])) for name in self._tests
        )

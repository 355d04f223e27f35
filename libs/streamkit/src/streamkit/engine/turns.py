"""What an engine does next: in the order of submission, but urgent work first."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from streamkit.engine.handling import Handling, Steps
from streamkit.engine.work import Result, Work
from streamkit.logs import log_about

URGENT: Final = "high"
"""The lane whose work goes ahead of begun work of others, at its next step."""


class _Run:
    """Works that were submitted together, and are begun."""

    __slots__ = ("back", "steps", "urgent", "works")

    def __init__(self, works: Sequence[Work], steps: Steps) -> None:
        self.works = works
        self.steps = steps
        self.urgent = works[0].lane == URGENT
        self.back: bool | None = None
        """What is sent at the next step: None to begin, True to have the rest given back."""


class Turns:
    """Work that was submitted, and the step at which it is. Not thread-safe."""

    def __init__(self, handling: Handling) -> None:
        self._handling = handling
        self._waiting: deque[Sequence[Work]] = deque()
        self._begun: list[_Run] = []

    def put(self, works: Sequence[Work]) -> None:
        """Do these, after all others. With a batch handler they are one micro-batch."""
        if works:
            self._waiting.append(works)

    def recall(self) -> Sequence[Result]:
        """Give back what has not begun; what has, ends at its next step."""
        unbegun = [work for works in self._waiting for work in works]
        self._waiting.clear()
        for run in self._begun:
            run.back = True
        return [Result(work.id, "returned", 0.0) for work in unbegun]

    def step(self) -> Sequence[Result] | None:
        """Go on as far as the next results; empty after a slice; None if nothing is to be done."""
        while (run := self._next()) is not None:
            try:
                results = run.steps.send(run.back)
            except StopIteration:
                self._begun.pop()
                continue
            run.back = run.back or False
            return results
        log_about(())
        return None

    def in_hand(self) -> Sequence[Work]:
        """The works that the last step was for, among others that it is not the turn of yet."""
        return self._begun[-1].works if self._begun else ()

    def _next(self) -> _Run | None:
        """What the next step is for."""
        waiting, begun = self._waiting, self._begun
        if not begun:
            if not waiting:
                return None
            begun.append(self._run(waiting.popleft()))
        elif waiting and not begun[-1].urgent:
            for works in waiting:
                if works[0].lane == URGENT:
                    waiting.remove(works)
                    begun.append(self._run(works))
                    break
        return begun[-1]

    def _run(self, works: Sequence[Work]) -> _Run:
        return _Run(works, self._handling.run(works))

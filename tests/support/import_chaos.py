"""Harm to a running stack in the course of an import, in an order that a seed decides."""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from crash_points import POINTS, CrashPoints
from darkroom_cli.stack import SERVICES, Stack

INFRASTRUCTURE: Final = ("kafka", "postgres", "redis")
_ASIDE: Final = ("gateway-api", "trainer")
"""Services that an import goes on without: it would be over before they do."""
_AT_ONCE: Final = 4
"""Points of the code that are armed together: processes crash beside each other, too."""


def wait(condition: Callable[[], bool], what: str, within_s: float) -> None:
    """Poll until the condition holds; fail after `within_s`."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.1)


@dataclass
class ImportChaos:
    """Does harm to a stack, round after round; a round begins when the import has come on.

    `progress` gives how many files have their end, `over` whether the import has. A process that
    stands still does so for `still_s`.
    """

    stack: Stack
    points: CrashPoints
    chance: random.Random
    progress: Callable[[], int]
    over: Callable[[], bool]
    still_s: float
    story: list[str] = field(default_factory=list)

    def run(self, step: int, within_s: float) -> None:
        """Every service killed or stopped once, every point passed by a crash, all of the
        infrastructure killed; a new round after `step` more files."""
        for harm in self._plan():
            goal = self.progress() + step
            wait(lambda: self.over() or self.progress() >= goal, str(self.story[-3:]), within_s)  # noqa: B023
            assert not self.over(), f"the import was over before {self.story}"
            harm()

    def _plan(self) -> Sequence[Callable[[], None]]:
        points = self.chance.sample(sorted(POINTS), len(POINTS))
        harms: list[Callable[[], None]] = [
            lambda some=points[at : at + _AT_ONCE]: self._crash(some)  # type: ignore[misc]
            for at in range(0, len(points), _AT_ONCE)
        ]
        still = self.chance.choice([one for one in (*SERVICES, "kafka") if one not in _ASIDE])
        harms += [lambda: self._kill("kafka"), lambda: self._kill("postgres", "redis")]
        services = list(SERVICES)
        harms += [lambda: self._kill(*services[::2]), lambda: self._kill(*services[1::2])]
        harms.append(lambda: self._stand_still(still))
        self.chance.shuffle(harms)
        return harms

    def _crash(self, points: Sequence[str]) -> None:
        self._tell(f"crash at {', '.join(points)}")
        for point in points:
            self.points.arm(point)

    def _kill(self, *names: str) -> None:
        self._tell(f"kill {', '.join(names)}")
        for name in names:
            os.kill(self._pid(name), signal.SIGKILL)

    def _stand_still(self, name: str) -> None:
        self._tell(f"stop {name} for {self.still_s} s")
        process, until = self._pid(name), time.monotonic() + self.still_s
        os.kill(process, signal.SIGSTOP)
        try:
            wait(lambda: time.monotonic() > until, "time goes by", 2 * self.still_s)
        finally:
            os.kill(process, signal.SIGCONT)

    def _pid(self, name: str) -> int:
        """Of a process that may have crashed just now: of the one that comes after it."""
        wait(lambda: name in self.stack.pids(), f"{name} runs", 30)
        return self.stack.pid(name)

    def _tell(self, what: str) -> None:
        self.story.append(f"{self.progress()} ended: {what}")
        print(self.story[-1], flush=True)  # noqa: T201 - pytest shows it with what failed

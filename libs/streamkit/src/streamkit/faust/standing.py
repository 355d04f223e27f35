"""How a service of folds stands, told while its event loop turns."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from streamkit.records import Partition
from streamkit.standing import LaneStanding, Pulse, Standing, State, Tell

LANE: Final = "events"
"""Its only lane: there are no priorities among events that are joined."""


class Working(Protocol):
    """An agent; see streamkit.faust.agent."""

    in_hand: int
    outcomes: Counter[str]

    @property
    def waiting(self) -> int:
        """Records that it has and has not begun."""


Assigned = Callable[[], Collection[Any]]
"""The partitions of topics, with the prefix, that the service has. Does not block."""


class Beats:
    """Tells how the service stands. Event loop only; never waits."""

    def __init__(
        self,
        agents: Mapping[str, Working],
        assigned: Assigned,
        topics: Mapping[str, str],
        tell: Tell,
        every_s: float,
    ) -> None:
        self._agents = agents
        self._assigned = assigned
        self._topics = topics
        self._pulse = Pulse(tell, every_s, self._standing)
        self._state: State = "starting"

    def turn(self, *, ready: bool) -> None:
        """The loop has turned; `ready` once the service has its partitions and tables."""
        if ready and self._state == "starting":
            self._state = "working"
        self._pulse.turn(self._state, time.monotonic())

    def stop(self) -> None:
        """It takes nothing more."""
        self._state = "stopping"
        self._pulse.turn(self._state, time.monotonic())

    def drained(self) -> None:
        """Nothing is in hand any more."""
        self._pulse.last()

    def _standing(self, state: State) -> Standing:
        if state == "starting":
            return Standing(state)
        agents = self._agents.values()
        counts = sum((agent.outcomes for agent in agents), Counter[str]())
        ours = [one for one in self._assigned() if one.topic in self._topics]
        return Standing(
            state,
            (
                LaneStanding(
                    LANE,
                    tuple(
                        sorted(Partition(self._topics[one.topic], one.partition) for one in ours)
                    ),
                    waiting=sum(agent.waiting for agent in agents),
                    in_engine=sum(agent.in_hand for agent in agents),
                    done=counts.total(),
                    failed=counts["dead_letter"],
                ),
            ),
        )

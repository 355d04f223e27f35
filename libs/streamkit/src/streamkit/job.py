"""What a worker is for."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamkit.lanes import Lane
from streamkit.messages import GiveUp, Handler, give_up_silently


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker does.

    `lanes` in order of priority; `handlers` by topic, without prefix; `dead_letters` is the topic
    of what is given up.
    """

    service: str
    version: str
    lanes: tuple[Lane, ...]
    handlers: Mapping[str, Handler]
    dead_letters: str
    give_up: GiveUp = give_up_silently

"""Branches: a record goes to one of several topics, by a pure function of its value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from streamkit.errors import Reject
from streamkit.job import Lane
from streamkit.messages import Emit, Events, Handlers, Message

Value = Mapping[str, Any]
"""A decoded event."""

_ROUTED: Final = uuid5(NAMESPACE_URL, "streamkit/branches")


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """`choose` gives the name of a choice for a value; `topics` has the topic of each.

    After a join it says where the outcome goes. Anywhere else it is a stage of its own, named
    `name`, that passes records on as they are; it reads `lanes`.
    """

    name: str
    choose: Callable[[Value], str]
    topics: Mapping[str, str]
    lanes: tuple[Lane, ...] = ()
    version: str = "0"

    @property
    def writes(self) -> tuple[str, ...]:
        """Topics of its choices."""
        return tuple(dict.fromkeys(self.topics.values()))

    def topic_of(self, value: Value) -> str:
        """Where a value belongs. Raises Reject if it chooses what there is not."""
        choice = self.choose(value)
        if choice not in self.topics:
            known = ", ".join(self.topics)
            raise Reject("no_such_branch", f"{self.name} has no branch {choice!r}, but {known}.")
        return self.topics[choice]

    def handlers(self) -> Callable[[], Handlers]:
        """What passes records on, where the branch is a stage of its own."""
        return partial(_handlers, self)


def _handlers(branch: Branch) -> Handlers:
    topics = [topic for lane in branch.lanes for topic in lane.topics]
    return Handlers(dict.fromkeys(topics, partial(_pass_on, branch)))


def _pass_on(branch: Branch, message: Message) -> Events:
    """The record, unchanged, on the topic of its choice; its id depends on the one it had."""
    place = f"{message.topic}/{message.partition}/{message.offset}"
    name = uuid5(_ROUTED, f"{branch.name}/{message.headers.get('ce_id', place)}")
    topic = branch.topic_of(message.value)
    return [Emit(topic, message.key, message.value, str(name))]

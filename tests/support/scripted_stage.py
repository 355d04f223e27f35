"""A service in a Kit whose handler does with a record as a test says, and notes what it saw."""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from streamkit.codec import AvroSchema
from streamkit.control import Control
from streamkit.engine.work import Work
from streamkit.errors import Instruction
from streamkit.events import Controlled
from streamkit.job import Batching, Job, Lane
from streamkit.messages import Emit, Events, Failure, Handlers, Message
from streamkit.policy import Policy
from streamkit.standing import Tell
from streamkit.testing import Kit, SteppedWorker

SERVICE: Final = "stage"
DONE: Final = "done"
GIVEN_UP: Final = "given-up"
LANES: Final = (Lane("high", ("said.high",)), Lane("batch", ("said.batch",)))

Action = BaseException | Callable[[Message], Events | Generator[None, None, Events]]
"""What happens to a record: this is raised, or called."""


def _record(name: str, *texts: str) -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": text, "type": "string"} for text in texts],
    }


_TEXT: Final = _record("said", "text")
_NOTICE: Final = _record(
    "notice", "notice_id", "kind", "service", "subject", "severity", "title", "detail"
)
_NOTICE["fields"].append(
    {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
)


def schema_of(topic: str) -> AvroSchema:
    """The schema of a topic's values."""
    return _NOTICE if topic == "ops.notified.v1" else _TEXT


def _only_texts(topic: str) -> AvroSchema:
    if topic == "ops.notified.v1":
        raise LookupError(topic)
    return _TEXT


@dataclass(frozen=True, slots=True)
class Call:
    """A record that the handler was called with, and when (the kit's seconds)."""

    text: str
    at: float
    message: Message


@dataclass(slots=True)
class Script:
    """What handlers do by a record's first word, and what they were called with."""

    now: Callable[[], float] = lambda: 0.0
    calls: list[Call] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    together: Callable[[Sequence[Message]], None] = lambda _messages: None
    words: Callable[[Message, Failure], Events] | None = None
    _actions: dict[str, tuple[Action, float]] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    def does(self, word: str, action: Action, times: float = math.inf) -> None:
        """Records that begin with `word` meet `action` when they are handled the first `times`
        times each; then, as all others do, they succeed."""
        self._actions[word] = (action, times)

    def forgets(self, word: str) -> None:
        """Records that begin with `word` succeed again."""
        self._actions.pop(word, None)

    def handle(self, message: Message) -> Events | Generator[None, None, Events]:
        """The handler of single records."""
        text = str(message.value["text"])
        self.calls.append(Call(text, self.now(), message))
        self._seen[text] = self._seen.get(text, 0) + 1
        action, times = self._actions.get(text.split(maxsplit=1)[0], (done, 0))
        if self._seen[text] > times:
            action = done
        if isinstance(action, BaseException):
            raise action
        return action(message)

    def handle_together(self, messages: Sequence[Message]) -> Sequence[Events | Instruction]:
        """The handler of micro-batches: each record's instruction is its own answer."""
        self.batches.append([str(one.value["text"]) for one in messages])
        self.together(messages)
        return [self._answer(message) for message in messages]

    def give_up(self, message: Message, failure: Failure) -> Events:
        """Say that a record was given up, and why."""
        if self.words is not None:
            return self.words(message, failure)
        text = f"{message.value['text']}: {failure.code}"
        return [Emit(GIVEN_UP, message.key, {"text": text}, f"given-up-{message.key}")]

    def _answer(self, message: Message) -> Events | Instruction:
        try:
            events = self.handle(message)
        except Instruction as instruction:
            return instruction
        if isinstance(events, Generator):
            raise TypeError("micro-batches have no slices")
        return events


def done(message: Message) -> Events:
    """Say the same."""
    text = message.value["text"]
    return [Emit(DONE, message.key, {"text": text}, f"done-{text}")]


class ScriptedStage:
    """A service with the lanes `high` and `batch`, or others, and workers in a Kit; `tells` people
    of what is away. `tell` is told how the first worker stands."""

    def __init__(
        self,
        *,
        lanes: Sequence[Lane] = LANES,
        policy: Policy | None = None,
        takes: Callable[[Work], float] | None = None,
        batching: Batching | None = None,
        isolation: Literal["process", "thread"] = "process",
        partitions: int = 4,
        tells: bool = True,
        tell: Tell | None = None,
    ) -> None:
        self.script = Script()
        self.loads = 0
        handler = self.script.handle_together if batching else self.script.handle
        self._handlers = Handlers(
            {topic: handler for lane in lanes for topic in lane.topics},
            give_up=self.script.give_up,
        )
        self.job = Job(
            service=SERVICE,
            version="1",
            lanes=tuple(lanes),
            handlers=self._load,
            dead_letters=f"darkroom.{SERVICE}.dlq",
            isolation=isolation,
            batching=batching,
        )
        self.policy = policy
        self.kit = Kit(
            schema_of=schema_of if tells else _only_texts, takes=takes, partitions=partitions
        )
        self.kit.add(self.job, policy=policy, tell=tell)
        self.kit.world.settle()
        self.script.now = lambda: self.kit.world.clock.now
        self.topics = {lane.name: lane.topics[0] for lane in lanes}

    def _load(self) -> Handlers:
        self.loads += 1
        return self._handlers

    @property
    def now(self) -> float:
        """The kit's seconds."""
        return self.kit.world.clock.now

    @property
    def worker(self) -> SteppedWorker:
        """The first worker."""
        return self.kit.workers[0]

    def say(self, *texts: str, lane: str = "batch", key: str = "") -> None:
        """Publish records, and let happen what then does at once."""
        for text in texts:
            self.kit.produce(self.topics[lane], key or text, {"text": text})

    def pile_up(self, *texts: str, lane: str = "batch", key: str = "") -> None:
        """Publish records that are all there before a worker sees the first."""
        self.freeze()
        self.say(*texts, lane=lane, key=key)
        self.thaw()

    def freeze(self) -> None:
        """Stop every worker, as SIGSTOP does."""
        for worker in self.kit.workers:
            worker.frozen = True

    def thaw(self) -> None:
        """Have every worker go on."""
        for worker in self.kit.workers:
            worker.frozen = False
        self.kit.world.settle()

    def control(self, target: str = SERVICE, **what: Any) -> None:
        """Have every worker know what somebody sets."""
        for worker in self.kit.workers:
            worker.post(Controlled(Control(target, **what)))
        self.kit.world.settle()

    def done(self) -> list[str]:
        """What was said to be done, in that order."""
        return [str(event.value["text"]) for event in self.kit.outputs(DONE)]

    def given_up(self) -> list[str]:
        """What the service said of records that it gave up."""
        return [str(event.value["text"]) for event in self.kit.outputs(GIVEN_UP)]

    def times(self, text: str) -> list[float]:
        """When the handler was called with a record."""
        return [call.at for call in self.script.calls if call.text == text]

    def attempts(self, text: str) -> list[int]:
        """Which attempts these were."""
        return [call.message.attempt for call in self.script.calls if call.text == text]

    def unread(self) -> int:
        """Records that the groups of the lanes have not committed."""
        return sum(self.kit.unread(self.job, lane.name) for lane in self.job.lanes)

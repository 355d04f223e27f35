"""What handlers see and return: decoded records in, events out."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamkit.errors import Instruction


@dataclass(frozen=True, slots=True)
class Message:
    """An incoming record, decoded. `topic` is without the installation's prefix.

    `attempt` counts from 1. A record that came back by a retry topic has the topic, partition,
    offset and time stamp of its first coming. `span` is the traceparent of its handling, which the
    handler's events carry.
    """

    topic: str
    lane: str
    key: str
    value: Mapping[str, Any]
    headers: Mapping[str, str]
    partition: int
    offset: int
    timestamp_ms: int
    attempt: int = 1
    span: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Emit:
    """An event to publish. `topic` is without the prefix.

    `id` becomes the CloudEvents id: the same fact must always have the same id, so that readers
    recognise a repetition.
    """

    topic: str
    key: str
    value: Mapping[str, Any]
    id: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a record was given up: a stable code, a sentence for a person, how often it was tried."""

    code: str
    message: str
    attempts: int


Events = Sequence[Emit]

Handler = Callable[[Message], Events | Generator[None, None, Events]]
"""Called once per record, may block. Its events are published and acknowledged before the record
is. Raises an Instruction; any other exception stops the process. A generator is sliced work: at
each `yield` more urgent work may go first, or the record may be given back."""

BatchHandler = Callable[[Sequence[Message]], Sequence[Events | Instruction]]
"""Called with a micro-batch; answers for each of its records, in order. What it raises is about
all of them: the batch is then bisected to the record at fault."""

GiveUp = Callable[[Message, Failure], Events]
"""Called when a record goes to the dead letters; its events are published with the dead letter."""


def give_up_silently(_message: Message, _failure: Failure) -> Events:
    """A GiveUp that leaves it at the dead letter."""
    return ()


def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """What a worker can do, as it is built where the work is done: in each engine process.

    `by_topic` has a Handler for each topic, or a BatchHandler if the job has micro-batches.
    `about` is for the logs (which model, which version). `close` lets go of what it holds.
    """

    by_topic: Mapping[str, Handler | BatchHandler]
    give_up: GiveUp = give_up_silently
    close: Callable[[], None] = _nothing
    about: Mapping[str, str] = field(default_factory=dict)

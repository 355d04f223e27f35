"""What handlers see and return: decoded records in, events out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """An incoming record, decoded. `topic` is without the installation's prefix."""

    topic: str
    lane: str
    key: str
    value: Mapping[str, Any]
    headers: Mapping[str, str]
    partition: int
    offset: int
    timestamp_ms: int


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


Handler = Callable[[Message], Sequence[Emit]]
"""Called once per record, may block. Its events are published and acknowledged before the record
is. Raises Retry, Reject or Busy; any other exception stops the process."""

GiveUp = Callable[[Message, Failure], Sequence[Emit]]
"""Called when a record goes to the dead letters; its events are published with the dead letter."""


def give_up_silently(_message: Message, _failure: Failure) -> Sequence[Emit]:
    """A GiveUp that leaves it at the dead letter."""
    return ()

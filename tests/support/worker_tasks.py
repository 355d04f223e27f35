"""A job whose records say themselves what is to become of them, for tests of the worker.

`do` and `amount` of a record:

    echo            an event
    wait, burn      an event after so many milliseconds, asleep or at work
    retry           fails at its first `amount` attempts
    reject          never succeeds
    crash           ends its engine process by a segmentation fault, each time
    hang, stuck     does not end while the file `amount` names is there; `stuck` is deaf to signals
    away, busy      needs a shop that is closed while that file is there (Retry, Busy)
    defect          raises what is no instruction while that file is there

`amount` is text; every call of a handler is a line of the trail (see Trail), if there is one.
"""

import ctypes
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from darkroom_schemas import avro
from streamkit import (
    Batching,
    Busy,
    Emit,
    Failure,
    Handlers,
    Instruction,
    Job,
    Lane,
    Message,
    Reject,
    Retry,
)
from streamkit.messages import Events
from streamkit.retry import RetryPlan

SERVICE: Final = "tasks"
LANES: Final = {"high": "tasks.asked.high.v1", "batch": "tasks.asked.batch.v1"}
DONE: Final = "tasks.done.v1"
LETTERS: Final = f"darkroom.{SERVICE}.dlq"
SHOP: Final = "the shop"

_log = structlog.get_logger("worker_tasks")

_TASK: Final = {
    "type": "record",
    "name": "Task",
    "namespace": "tests",
    "fields": [{"name": name, "type": "string"} for name in ("name", "do", "amount")],
}
_DONE: Final = {
    "type": "record",
    "name": "Done",
    "namespace": "tests",
    "fields": [
        *({"name": name, "type": "string"} for name in ("name", "lane", "worker", "failure")),
        *({"name": name, "type": "long"} for name in ("attempt", "engine", "partition", "offset")),
    ],
}


def schema_of(topic: str) -> Mapping[str, Any]:
    """The schema of a topic's values."""
    if topic in LANES.values():
        return _TASK
    return _DONE if topic == DONE else avro.schema_of(topic)


def retry_topics(tiers: str) -> Sequence[str]:
    """The retry topics of the job."""
    return RetryPlan(SERVICE, tiers.split(",")).topics()


@dataclass(frozen=True, slots=True)
class Call:
    """A line of the trail: a handler was called (`began`) or has returned an event."""

    name: str
    lane: str
    attempt: int
    began: bool
    worker: str
    engine: int
    at: float
    """Seconds since 1970."""


class Trail:
    """A file to which engine processes say what they do, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._worker = os.environ.get("WORKER_NAME", "")

    def say(self, message: Message, *, began: bool) -> None:
        """Add a line; lines of several processes don't mix."""
        line = json.dumps(
            [
                message.value["name"],
                message.lane,
                message.attempt,
                began,
                self._worker,
                os.getpid(),
                time.time(),
            ]
        )
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def calls(self) -> Sequence[Call]:
        """All that was said so far."""
        if not self._path.exists():
            return []
        whole = self._path.read_text(encoding="utf-8").rpartition("\n")[0]
        return [Call(*json.loads(line)) for line in whole.splitlines()]

    def began(self, name: str) -> Sequence[Call]:
        """When the handler was called with this record."""
        return [call for call in self.calls() if call.began and call.name == name]


def job(trail: str, batch: int, ordered: bool) -> Job:
    """The job; with micro-batches of up to `batch` records, unless it is 0."""
    lanes = tuple(Lane(name, (topic,), ordered=ordered) for name, topic in LANES.items())
    return Job(
        service=SERVICE,
        version="1",
        lanes=lanes,
        handlers=partial(handlers, trail, batch > 0),
        dead_letters=LETTERS,
        batching=Batching(largest=batch) if batch else None,
        preload=("worker_tasks",),
    )


def handlers(trail: str, together: bool) -> Handlers:
    """What engine processes do. The variable WORKER_LACKS names what can't be loaded, WORKER_LOADS
    says for how many seconds it is."""
    lacking = os.environ.get("WORKER_LACKS")
    if lacking:
        raise FileNotFoundError(f"There is no {lacking}.")
    loading_s = os.environ.get("WORKER_LOADS")
    if loading_s:
        _log.info("loading")
        time.sleep(float(loading_s))
    worker = _Tasks(Trail(Path(trail)) if trail else None, os.environ.get("WORKER_NAME", ""))
    handler = worker.all if together else worker.one
    return Handlers(dict.fromkeys(LANES.values(), handler), give_up=worker.give_up)


class _Tasks:
    def __init__(self, trail: Trail | None, worker: str) -> None:
        self._trail = trail
        self._worker = worker

    def one(self, message: Message) -> Events:
        if self._trail is not None:
            self._trail.say(message, began=True)
        _WHAT[message.value["do"]](message.value["amount"], message.attempt)
        if self._trail is not None:
            self._trail.say(message, began=False)
        return [self._event(message, "")]

    def all(self, messages: Sequence[Message]) -> Sequence[Events | Instruction]:
        """As a model that takes a whole batch: one bad record and none of them is done."""
        return [self.one(message) for message in messages]

    def give_up(self, message: Message, failure: Failure) -> Events:
        return [self._event(message, failure.code)]

    def _event(self, message: Message, failure: str) -> Emit:
        value = {
            "name": message.value["name"],
            "lane": message.lane,
            "worker": self._worker,
            "failure": failure,
            "attempt": message.attempt,
            "engine": os.getpid(),
            "partition": message.partition,
            "offset": message.offset,
        }
        return Emit(DONE, message.key, value, f"done-{message.value['name']}")


def _echo(_amount: str, _attempt: int) -> None:
    """There is nothing to do."""


def _wait(amount: str, _attempt: int) -> None:
    time.sleep(float(amount) / 1000)


def _burn(amount: str, _attempt: int) -> None:
    until = time.thread_time() + float(amount) / 1000
    while time.thread_time() < until:
        pass


def _retry(amount: str, attempt: int) -> None:
    if attempt <= int(amount):
        raise Retry(f"not yet, says {os.environ.get('WORKER_NAME')}")


def _reject(_amount: str, _attempt: int) -> None:
    raise Reject("bad", "It is bad.")


def _crash(_amount: str, _attempt: int) -> None:
    ctypes.string_at(0)


def _hang(amount: str, _attempt: int) -> None:
    while Path(amount).exists():
        time.sleep(0.02)


def _stuck(amount: str, attempt: int) -> None:
    # As foreign code does that never returns to the interpreter.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    _hang(amount, attempt)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _away(amount: str, _attempt: int) -> None:
    if Path(amount).exists():
        raise Retry("closed", dependency=SHOP)


def _busy(amount: str, _attempt: int) -> None:
    if Path(amount).exists():
        raise Busy("closed", dependency=SHOP)


def _defect(amount: str, _attempt: int) -> None:
    if Path(amount).exists():
        raise ZeroDivisionError("an answer that nobody thought of")


_WHAT: Final[Mapping[str, Callable[[str, int], None]]] = {
    "echo": _echo,
    "wait": _wait,
    "burn": _burn,
    "retry": _retry,
    "reject": _reject,
    "crash": _crash,
    "hang": _hang,
    "stuck": _stuck,
    "away": _away,
    "busy": _busy,
    "defect": _defect,
}

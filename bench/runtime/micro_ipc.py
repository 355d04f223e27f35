"""What it costs to have a record worked on in another process, decoding and encoding left out."""

import queue
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import psutil

from streamkit import Handlers, Message
from streamkit.engine.process import ProcessEngine
from streamkit.engine.work import Work
from streamkit.messages import Emit
from streamkit.ports import EngineEvent, EngineReady, EngineResults
from streamkit.records import Taken

_IN_HAND: Final = 512
"""Works that the engine has at a time, at most; about what a busy worker keeps there."""
_CHUNK: Final = 64
_WAIT_S: Final = 30.0


class RawCodec:
    """Decodes and encodes nothing: what is left is the way there and back."""

    def decode(self, _topic: str, data: bytes | None) -> dict[str, Any]:
        """The bytes as they are."""
        return {"data": data}

    def encode(self, _topic: str, value: Mapping[str, Any]) -> bytes:
        """See decode."""
        return bytes(value["data"])


def load(topic: str, into: str, answer: bytes) -> Handlers:
    """A handler that gives the same event for every record."""
    emits = (Emit(into, "key", {"data": answer}, "id"),)

    def handle(_message: Message) -> Sequence[Emit]:
        return emits

    return Handlers({topic: handle})


def ipc(taken: Sequence[Taken], into: str, answer: bytes) -> dict[str, float]:
    """Microseconds of CPU per record in the worker's process and in the engine's.

    The engine's includes making the event's headers, of which there must be some.
    """
    events: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
    handlers = partial(load, taken[0].topic, into, answer)
    engine = ProcessEngine("micro", handlers, RawCodec, events.put, source="micro")
    engine.start()
    try:
        _await_ready(events)
        children = psutil.Process().children(recursive=True)
        before, began = _used(children), time.process_time()
        _work_off(engine, events, taken)
        ours, theirs = time.process_time() - began, _used(children) - before
    finally:
        engine.close(5.0)
    return {
        "ipc in the worker": 1e6 * ours / len(taken),
        "ipc in the engine": 1e6 * theirs / len(taken),
    }


def _await_ready(events: "queue.SimpleQueue[EngineEvent]") -> None:
    event = events.get(timeout=_WAIT_S)
    if not isinstance(event, EngineReady):
        raise TypeError(f"the engine said {event}")


def _work_off(
    engine: ProcessEngine, events: "queue.SimpleQueue[EngineEvent]", taken: Sequence[Taken]
) -> None:
    submitted, done = 0, 0
    while done < len(taken):
        while submitted < len(taken) and submitted - done <= _IN_HAND - _CHUNK:
            some = taken[submitted : submitted + _CHUNK]
            engine.submit(
                [Work(number, "batch", 1, one) for number, one in enumerate(some, submitted)]
            )
            submitted += len(some)
        event = events.get(timeout=_WAIT_S)
        if not isinstance(event, EngineResults):
            raise TypeError(f"the engine said {event}")
        done += len(event.results)


def _used(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)

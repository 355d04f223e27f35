"""Handlers for tests of engines: what a record says is what happens to its process."""

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import structlog

from streamkit.engine.work import Result, Work
from streamkit.errors import Busy, Instruction, OutOfMemory, Reject, Retry
from streamkit.messages import Emit, Events, Failure, Handler, Handlers, Message
from streamkit.ports import EngineEvent, EngineGone, EngineReady, EngineResults
from streamkit.records import RawHeaders, Taken

DEADLINE_S: Final = 30.0

_seen: Final[set[str]] = set()
"""Keys of all records that this process has begun to work on."""


class JsonCodec:
    """Values as JSON; as a codec does, refuses what it can't read or write."""

    def encode(self, _topic: str, value: Mapping[str, Any]) -> bytes:
        """See Codes."""
        if "busy" in value:
            raise Busy("no registry", dependency="schema registry")
        return json.dumps(value).encode()

    def decode(self, _topic: str, data: bytes | None) -> dict[str, Any]:
        """See Codes."""
        if data == b"busy":
            raise Busy("no registry", dependency="schema registry")
        try:
            return dict(json.loads(data or b""))
        except ValueError as error:
            raise Reject("undecodable", "It is no JSON.") from error


def work(
    number: int,
    value: Mapping[str, Any] | bytes | None = None,
    *,
    topic: str = "said",
    lane: str = "batch",
    key: bytes | None = None,
    headers: RawHeaders | None = None,
    failure: Failure | None = None,
) -> Work:
    """A piece of work. `value` is encoded unless it is bytes."""
    data = value if isinstance(value, bytes) else json.dumps(value or {}).encode()
    key = str(number).encode() if key is None else key
    record = Taken(topic, 0, number, key, data, headers or [], 1_700_000_000_000)
    return Work(number, lane, 1, record, failure)


class Heard:
    """What an engine reports, to be waited for."""

    def __init__(self) -> None:
        self._events: SimpleQueue[EngineEvent] = SimpleQueue()
        self._results: list[Result] = []

    def __call__(self, event: EngineEvent) -> None:
        self._events.put(event)

    def event(self, timeout_s: float = DEADLINE_S) -> EngineEvent:
        """The next event."""
        return self._events.get(timeout=timeout_s)

    def ready(self) -> EngineReady:
        """The next event, which must be this."""
        event = self.event()
        assert isinstance(event, EngineReady), event
        return event

    def gone(self) -> EngineGone:
        """The next event that is no result, which must be this."""
        while isinstance(event := self.event(), EngineResults):
            self._results += event.results
        assert isinstance(event, EngineGone), event
        return event

    def results(self, count: int) -> list[Result]:
        """The next `count` results."""
        while len(self._results) < count:
            event = self.event()
            assert isinstance(event, EngineResults), event
            self._results += event.results
        found, self._results = self._results[:count], self._results[count:]
        return found

    def rest(self) -> list[EngineEvent]:
        """Whatever else was reported by now."""
        found = []
        try:
            while True:
                found.append(self._events.get_nowait())
        except Empty:
            return found


def echo(message: Message) -> Events:
    """Says what it was told, and in which process."""
    _seen.add(message.key)
    value = {**message.value, "pid": os.getpid(), "nice": os.nice(0)}
    return [Emit("echo", message.key, value, message.key)]


def note(message: Message) -> Events:
    """Logs a line."""
    structlog.get_logger("double").info("noted", key=message.key)
    return ()


def die(message: Message) -> Events:
    """Ends this process in the way that the record says."""
    match message.value["how"]:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "sys.exit":
            sys.exit("enough")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    return []


def hang(message: Message) -> Events:
    """Never returns; says so in a file, if the record names one. `in_c`: in foreign code that
    keeps all Python of the process from going on."""
    if "file" in message.value:
        Path(message.value["file"]).write_text(str(os.getpid()))
    if message.value.get("in_c"):
        ctypes.PyDLL(None).sleep(1_000)
    threading.Event().wait()
    return []


def leave(message: Message) -> Events:
    """Ends this process, but for a copy of it that goes on; its number is in the file."""
    copy = os.fork()
    if copy == 0:
        while True:
            signal.pause()
    Path(message.value["file"]).write_text(str(copy))
    os._exit(3)


def wait_for(message: Message) -> Generator[None, None, Events]:
    """In slices, until this process has begun to work on the record of that key."""
    while message.value["key"] not in _seen:
        yield
    return [Emit("waited", message.key, {}, message.key)]


def fail(message: Message) -> Events:
    """Raises what the record says."""
    raise error_of(message.value)


def error_of(value: Mapping[str, Any]) -> BaseException:
    """The exception that a record asks for."""
    errors: Mapping[str, Callable[[], BaseException]] = {
        "retry": lambda: Retry("later", dependency="store"),
        "reject": lambda: Reject("bad_photo", "The photo is bad."),
        "busy": lambda: Busy("full", dependency="store"),
        "memory": lambda: OutOfMemory("too large"),
        "defect": lambda: KeyError("nobody knows"),
    }
    return errors[value["error"]]()


def together(messages: Sequence[Message]) -> Sequence[Events | Instruction]:
    """Answers for a micro-batch; fails as a whole if one of its records says `error`."""
    for message in messages:
        if "error" in message.value:
            raise error_of(message.value)
    return [
        [Emit("echo", message.key, {"size": len(messages)}, message.key)] for message in messages
    ]


def last_words(message: Message, failure: Failure) -> Events:
    """Says what was given up."""
    return [Emit("gave-up", message.key, {"code": failure.code}, message.key)]


def handlers() -> Handlers:
    """All of them by their names."""
    by_topic: Mapping[str, Handler] = {
        "said": echo,
        "note": note,
        "die": die,
        "hang": hang,
        "leave": leave,
        "wait": wait_for,
        "fail": fail,
    }
    return Handlers(by_topic, give_up=last_words, about={"model": "stub@1"})


def handlers_that_note_their_end(file: str) -> Handlers:
    """Write `file` as they are closed."""

    def close() -> None:
        Path(file).write_text("closed")

    return Handlers({"said": echo, "hang": hang, "wait": wait_for}, close=close)


def handlers_that_fail_to_close() -> Handlers:
    """Closing them raises."""

    def close() -> None:
        raise ValueError("it is stuck")

    return Handlers({"said": echo}, close=close)


def batch_handlers() -> Handlers:
    """For micro-batches."""
    return Handlers({"said": together, "also": together}, give_up=last_words)


def no_handlers(how: str) -> Handlers:
    """Can't be loaded."""
    match how:
        case "exit":
            os._exit(9)
        case "sys.exit":
            sys.exit("the weights are missing")
        case "busy":
            raise Busy("the store sleeps", dependency="store")
        case _:
            raise FileNotFoundError("no weights at\n/models/lite0")


def handlers_of_the_second_try(file: str, how: str) -> Handlers:
    """Can't be loaded the first time."""
    path = Path(file)
    if not path.exists():
        path.write_text("tried")
        no_handlers(how)
    return handlers()


def codec() -> JsonCodec:
    """As an engine wants one."""
    return JsonCodec()

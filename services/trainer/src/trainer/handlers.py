"""A training that was prepared in, its end out."""

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID, uuid5

import structlog

from darkroom_schemas.names import TRAINING_ENDED, TRAINING_PREPARED
from streamkit import Busy, Emit, Failure, Handlers, Message, ObjectStore, Reject, Retry
from trainer.counting import Counts
from trainer.fitting import Pause, nothing
from trainer.keeping import Folds, Shelf
from trainer.lock import Held, LockLost, Locks, RedisAway, Taken
from trainer.manifest import Lesson, ManifestError, read
from trainer.progress import Progress
from trainer.training import End, learn

_log = structlog.get_logger("trainer")

SERVICE: Final = "trainer"
REDIS: Final = "redis"
OTHER: Final = "another trainer"
"""What a lock that another has is called as a dependency."""

READING: Final = "reading"

_TICK_S: Final = 0.1
"""So often a training can be given back, to another worker or at a stop."""

_GRACE_S: Final = 1.0
"""Beyond what a lock lasts, before who has it is taken to be alive."""

Slices = Generator[None, None, Sequence[Emit]]


class Cancelled(Exception):  # noqa: N818 - it says what is, as instructions do
    """Nobody wants the training any more; says who."""


class TimedOut(Exception):  # noqa: N818 - likewise
    """Its time is over."""


class GivenBack(Exception):  # noqa: N818 - likewise
    """Somebody else goes on with it."""


class Tells(Protocol):
    """See Teller."""

    def say(self, progress: Progress) -> None: ...

    def flush(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Trainer:
    """What trainings are done with. `cancelled` says who cancelled a request, if somebody did;
    `pausing` is called at every pause of a training."""

    store: ObjectStore
    locks: Locks
    teller: Tells
    cancelled: Callable[[str], str | None]
    counts: Counts
    time_limit_s: float
    pausing: Pause = nothing

    def train(self, message: Message) -> Slices:
        """Returns the end of the training. Raises Busy, Retry, Reject."""
        event = message.value
        shelf = _shelf(self.store, event)
        with _troubles(self.counts):
            held = yield from self._locked(event)
            try:
                return (yield from self._led(event, held, shelf))
            finally:
                held.release()

    def give_up(self, message: Message, failure: Failure) -> Sequence[Emit]:
        """Says that the training failed, so that nobody waits for it; unless another trainer has
        it in hand, who will say how it ends."""
        event = message.value
        with _troubles(self.counts):
            try:
                held = _exhausted(self._locked(event))
            except Busy as error:
                if error.dependency == OTHER:
                    return ()
                raise
            held.release()
        return [_ended(event, held.token, _said(End("failed", failure.message), 0.0))]

    def _locked(self, event: Mapping[str, Any]) -> Generator[None, None, Held]:
        """The model's lock. Waits for as long as one lasts whose holder is gone; raises Busy where
        he lives, RedisAway."""
        model, until = _model(event), 0.0
        while True:
            found = self.locks.take(model, event["fence"])
            if isinstance(found, Held):
                self.counts.lock("taken")
                _log.info("training_begins", **_about(event), token=found.token)
                return found
            until = until or _first(self, event, found)
            if time.monotonic() >= until:
                raise Busy(f"{found.holder} trains {event['model']}", dependency=OTHER)
            time.sleep(_TICK_S)
            yield

    def _led(self, event: Mapping[str, Any], held: Held, shelf: Shelf) -> Slices:
        with _reading_store():
            before = shelf.end()
        if before is not None:
            _log.info("training_known", **_about(event), token=held.token)
            return [_ended(event, held.token, before)]
        run = _Run(self, event, held, shelf)
        try:
            run.start()
            while not run.over.wait(_TICK_S):
                yield
        finally:
            run.stop()
        end, seconds = run.end(), run.seconds
        value = self._kept(end, seconds, held, shelf)
        run.folds.drop()
        self.counts.ended(end.end, end.publish, seconds)
        _log.info(
            "training_ended",
            **_about(event),
            token=held.token,
            end=end.end,
            publish=end.publish,
            reason=end.reason,
            seconds=round(seconds, 3),
        )
        return [_ended(event, held.token, value)]

    def _kept(self, end: End, seconds: float, held: Held, shelf: Shelf) -> Mapping[str, Any]:
        """What is said of an end, and stored with all that it refers to. Raises as a lock does."""
        value = _said(end, seconds)
        if end.head is not None:
            value["head"] = {
                "uri": shelf.put_head(end.head),
                "sha256": end.head.version,
                "byte_size": len(end.head.data),
                "model_version": end.head.model_version,
            }
        if end.report is not None:
            value["report_uri"] = shelf.put_report(end.report, held.token)
        held.confirm()
        shelf.put_end(value)
        return value


class _Run:
    """A training in a thread of its own, so that the engine can be asked for it back."""

    def __init__(
        self, trainer: Trainer, event: Mapping[str, Any], held: Held, shelf: Shelf
    ) -> None:
        self.over = threading.Event()
        self.seconds = 0.0
        counts = trainer.counts
        self.folds: Folds = shelf.folds(
            lambda: counts.fold("computed"), lambda: counts.fold("kept")
        )
        self._trainer = trainer
        self._event = event
        self._held = held
        self._stopped = False
        self._started = time.monotonic()
        self._limit_s = trainer.time_limit_s
        self._end: End | None = None
        self._error: BaseException | None = None
        self._progress = Progress(
            event["request_id"],
            event["owner"],
            event["model"],
            held.token,
            trainer.locks.worker,
            READING,
            0.0,
        )
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End it, at its next pause, and wait for that. One that never comes to a pause is ended
        with its process, at the hard deadline."""
        self._stopped = True
        self._thread.join()
        self._trainer.teller.flush()

    def end(self) -> End:
        """How it ended. Raises what it raised."""
        if self._error is not None:
            raise self._error
        if self._end is None:
            raise GivenBack
        return self._end

    def _run(self) -> None:
        try:
            self._end = self._learned()
        except Cancelled as error:
            self._end = End("cancelled", f"cancelled by {error}")
        except TimedOut:
            self._end = End("timed_out", f"it was not over after {self._limit_s:g} s")
        except ManifestError as error:
            self._end = End("failed", str(error))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        finally:
            self.seconds = time.monotonic() - self._started
            self.over.set()

    def _learned(self) -> End:
        self._tell(READING, 0.0)
        self._pause()
        lesson = self._lesson()
        self._limit_s = min(self._limit_s, lesson.time_limit_s)
        end = learn(lesson, self.folds, self._pause, self._tell)
        self._pause()
        self._tell(self._progress.step, 1.0)
        return end

    def _lesson(self) -> Lesson:
        """Raises ManifestError, Busy."""
        event = self._event
        with _reading_store():
            return read(self._trainer.store, event["manifest_uri"], event["manifest_sha256"])

    def _pause(self) -> None:
        """Whether to go on: raises if not. Who lost the lock says nothing, whatever else is so."""
        self._trainer.pausing()
        self._held.check()
        if self._stopped:
            raise GivenBack
        by = self._trainer.cancelled(self._event["request_id"])
        if by is not None:
            raise Cancelled(by)
        if time.monotonic() - self._started > self._limit_s:
            raise TimedOut

    def _tell(self, step: str, done: float) -> None:
        self._progress = replace(self._progress, step=step, done=done)
        self._trainer.teller.say(self._progress)


def handlers(trainer: Trainer, close: Callable[[], None]) -> Handlers:
    """What is done by topic; `close` ends what the trainer holds."""
    return Handlers({TRAINING_PREPARED: trainer.train}, trainer.give_up, close)


@contextmanager
def _troubles(counts: Counts) -> Iterator[None]:
    """What a lock says, as instructions."""
    try:
        yield
    except RedisAway as error:
        raise Busy(str(error), dependency=REDIS) from error
    except LockLost as error:
        counts.lock("lost")
        raise Retry(str(error)) from error


@contextmanager
def _reading_store() -> Iterator[None]:
    """What is read of a store that is away: no training does without it."""
    try:
        yield
    except Retry as error:
        raise Busy(str(error), dependency=error.dependency) from error


def _shelf(store: ObjectStore, event: Mapping[str, Any]) -> Shelf:
    """Raises Reject for a request that is none: what it is called names places in the store."""
    try:
        request = str(UUID(event["request_id"]))
    except ValueError as error:
        raise Reject("bad_request_id", "The request's id is no UUID.") from error
    return Shelf(store, request, event["manifest_sha256"])


def _first(trainer: Trainer, event: Mapping[str, Any], found: Taken) -> float:
    trainer.counts.lock("held")
    _log.info("training_waits", **_about(event), holder=found.holder, seconds=found.left_s)
    return time.monotonic() + found.left_s + _GRACE_S


def _exhausted(slices: Generator[None, None, Held]) -> Held:
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            held: Held = stop.value
            return held


def _said(end: End, seconds: float) -> dict[str, Any]:
    """What is stored of an end: JSON."""
    return {
        "end": end.end,
        "publish": end.publish,
        "reason": end.reason,
        "head": None,
        "metrics": "" if end.metrics is None else json.dumps(end.metrics, sort_keys=True),
        "report_uri": None,
        "seconds": seconds,
        "ended_at": datetime.now(UTC).isoformat(),
    }


def _ended(event: Mapping[str, Any], token: int, said: Mapping[str, Any]) -> Emit:
    value = {
        **said,
        **{name: event[name] for name in ("request_id", "owner", "model")},
        "token": token,
        "ended_at": datetime.fromisoformat(said["ended_at"]),
    }
    return Emit(TRAINING_ENDED, _model(event), value, _event_id(event["request_id"], token))


def _event_id(request_id: str, token: int) -> str:
    try:
        namespace = UUID(request_id)
    except ValueError:  # of a request that is given up because of that
        namespace = UUID(int=0)
    return str(uuid5(namespace, f"{TRAINING_ENDED}:{request_id}:{token}"))


def _model(event: Mapping[str, Any]) -> str:
    return f"{event['owner']}:{event['model']}"


def _about(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: event[name] for name in ("request_id", "owner", "model")}

"""Events of all services in, rows in the catalog; what follows from them at once, by the outbox."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, NamedTuple, cast

from darkroom_schemas import names
from darkroom_schemas.events import Notice
from gateway.catalog import (
    comparisons,
    ends,
    model_reports,
    notices,
    reembedding,
    results,
    training_ends,
    trainings,
)
from gateway.catalog.outbox import Outbox
from gateway.db import Conn
from gateway.recorder.metrics import count_durations, count_ends
from gateway.recorder.news import News, batch_news, photo_news
from gateway.recorder.session import Session
from streamkit import BatchHandler, Message, tracing
from streamkit.messages import Events

Event = dict[str, Any]


class _Said(NamedTuple):
    """An event, its CloudEvents id, and the traceparent of its handling."""

    event: Event
    id: str
    span: str


@dataclass(frozen=True, slots=True)
class Recording:
    """What is done with the events of some topics.

    `write` takes any number of them, as values of the topics' schemas; `about` says whom to tell
    that something is new. An outcome is known by its CloudEvents id, so `write` gets pairs then.
    One that reads what it has written can't be piped: there results come only at the end. `tells`
    is one whose `write` gets the outbox, since others follow what comes of it.
    """

    write: Callable[..., None]
    about: Literal["photo", "batch", "nobody"]
    with_id: bool = False
    piped: bool = True
    tells: bool = False


class Recorder:
    """Records a micro-batch of events in one transaction, then tells the news. `training_every_s`
    lie between trainings of a model that nobody asks for, of which each label needs
    `examples_least`."""

    def __init__(
        self,
        session: Session,
        news: News,
        outbox: Outbox,
        training_every_s: float = trainings.EVERY_S,
        examples_least: int | None = None,
    ) -> None:
        self._session = session
        self._news = news
        self._outbox = outbox
        table = recordings(training_every_s, examples_least)
        self._topics = {
            recording: [topic for topic, one in table.items() if one is recording]
            for recording in table.values()
        }

    def record(self, messages: Sequence[Message]) -> Sequence[Events]:
        """All of it, or nothing: what is raised may be about any one of them."""
        events: dict[str, list[_Said]] = {}
        for one in messages:
            said = _Said(storable(one.value), one.headers.get("ce_id", ""), one.span)
            events.setdefault(one.topic, []).append(said)
        photos = _told("photo", "analysis_id", events)
        ends = [one.event for topic in _ENDS for one in events.get(topic, ())]
        decided = [event["analysis_id"] for event in ends if "outcome" in event]

        def work(conn: Conn) -> tuple[Mapping[str, Sequence[str]], Sequence[tuple[str, float]]]:
            with conn.pipeline():
                self._write(conn, events, piped=True)
                batches = results.batches_of(conn, list(photos)) if photos else {}
                durations = results.durations(conn, decided) if decided else ()
            self._write(conn, events, piped=False)
            return batches, durations

        batches, durations = self._session.transact(work)
        count_ends(ends)
        count_durations(durations)
        self._news.tell(
            [photo_news(photos[one]["photo_id"], one, batches.get(one, ())) for one in photos]
            + [batch_news(one) for one in _told("batch", "batch_id", events)]
        )
        return [()] * len(messages)

    def _write(self, conn: Conn, events: Mapping[str, Sequence[_Said]], *, piped: bool) -> None:
        """In the order of the table below, so that all recorders take locks in the same order."""
        for recording, topics in self._topics.items():
            some = [one for topic in topics for one in events.get(topic, ())]
            if not some or recording.piped is not piped:
                continue
            if recording.tells:
                for one in some:  # what follows from it is of its trace
                    with tracing.within(one.span or None):
                        recording.write(conn, self._outbox, one.event)
            elif recording.with_id:
                recording.write(conn, *((one.event, one.id) for one in some))
            else:
                recording.write(conn, *(one.event for one in some))


def _told(about: str, name: str, events: Mapping[str, Sequence[_Said]]) -> dict[str, Event]:
    """An event of each photo's analysis, or of each import, of which there is news."""
    return {
        one.event[name]: one.event
        for topic, some in events.items()
        if RECORDINGS[topic].about == about
        for one in some
    }


def storable(value: Mapping[str, Any]) -> Event:
    """The event without zero characters, which PostgreSQL's text and jsonb can't hold."""
    return cast(Event, _storable(value))


def _storable(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "") if "\0" in value else value
    if isinstance(value, Mapping):
        return {key: _storable(one) for key, one in value.items()}
    if isinstance(value, list) and value and not isinstance(value[0], float):
        return [_storable(one) for one in value]
    return value


def _record_notices(conn: Conn, *events: Notice) -> None:
    for event in events:
        notices.record_notice(conn, event)


_OUTCOMES: Final = (names.PHOTO_AUTO_LABELED, names.PHOTO_SUGGESTED, names.PHOTO_REVIEW_REQUESTED)
_ENDS: Final = (*_OUTCOMES, names.PHOTO_REJECTED)

_REQUEST: Final = Recording(results.record_request, "photo")
_OUTCOME: Final = Recording(results.record_outcome, "photo", with_id=True)

RECORDINGS: Final[Mapping[str, Recording]] = {
    **dict.fromkeys(names.PHOTO_ANALYSIS_REQUESTED.values(), _REQUEST),
    names.PHOTO_REJECTED: Recording(results.record_rejection, "photo"),
    names.PHOTO_OBJECTS_DETECTED: Recording(results.record_objects, "photo"),
    names.PHOTO_TEXT_READ: Recording(results.record_text, "photo"),
    names.PHOTO_EMBEDDED: Recording(results.record_embedding, "photo"),
    names.PHOTO_RESCORED: Recording(results.record_rescored, "nobody"),
    names.PHOTO_STAGE_FAILED: Recording(results.record_failure, "photo"),
    names.ANALYSIS_DEADLINE_REACHED: Recording(results.record_deadline, "photo"),
    names.PHOTO_ANALYSIS_CANCELLED: Recording(results.record_cancellation, "photo"),
    **dict.fromkeys(_OUTCOMES, _OUTCOME),
    # An end changes nothing that an outcome or a rejection did not tell.
    names.BATCH_PHOTO_ENDED: Recording(ends.record_end, "nobody"),
    names.BATCH_PROGRESSED: Recording(ends.record_progress, "batch"),
    names.BATCH_COMPLETED: Recording(ends.record_completion, "batch", piped=False),
    names.PHOTO_REEMBEDDED: Recording(reembedding.record_reembedded, "nobody"),
    names.PHOTO_MODEL_COMPARED: Recording(comparisons.record_comparisons, "nobody"),
    names.MODEL_REPORTED: Recording(model_reports.record_reports, "nobody"),
    names.TRAINING_REQUESTED: Recording(trainings.record_training, "nobody", piped=False),
    names.TRAINING_PROGRESSED: Recording(training_ends.record_progress, "nobody", piped=False),
    names.TRAINING_ENDED: Recording(training_ends.record_end, "nobody", piped=False, tells=True),
    names.OPS_NOTIFIED: Recording(_record_notices, "nobody"),
}
"""Topic → what is done with its events."""


def recordings(training_every_s: float, examples_least: int | None) -> Mapping[str, Recording]:
    """The table, with what trainings of a model that nobody asks for need: so many seconds between
    them, and examples of each label."""
    record_training = partial(
        trainings.record_training, every_s=training_every_s, least=examples_least
    )
    train = Recording(record_training, "nobody", piped=False)
    return {**RECORDINGS, names.TRAINING_REQUESTED: train}


def handlers(recorder: Recorder) -> Mapping[str, BatchHandler]:
    """Topic → handler: one for all, so that a micro-batch is one transaction."""
    return dict.fromkeys(RECORDINGS, recorder.record)

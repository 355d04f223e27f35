"""Events of all services in, rows in the catalog; no events out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from darkroom_schemas import names
from gateway.catalog import results
from gateway.db import Conn
from gateway.recorder.news import News
from gateway.recorder.session import Session
from streamkit import Emit, Handler, Message
from streamkit.messages import Events

Record = Callable[[Conn, Any], None]
"""Writes an event; `Any` stands for the TypedDict of its topic's schema."""


class Recorder:
    """Records an event in one transaction, then tells the news."""

    def __init__(self, session: Session, news: News) -> None:
        self._session = session
        self._news = news

    def photo(self, record: Record) -> Callable[[Message], Events]:
        """A handler for events about an analysis."""

        def handle(message: Message) -> Sequence[Emit]:
            event = storable(message.value)
            analysis_id = event["analysis_id"]

            def work(conn: Conn) -> list[str]:
                record(conn, event)
                return results.batches_of(conn, analysis_id)

            batches = self._session.transact(work)
            self._news.photo(event["photo_id"], analysis_id, batches)
            return ()

        return handle

    def outcome(self, message: Message) -> Sequence[Emit]:
        """The handler of outcomes, which are known by their CloudEvents id."""
        event_id = message.headers.get("ce_id", "")
        return self.photo(lambda conn, event: results.record_outcome(conn, event, event_id))(
            message
        )

    def batch(self, record: Record) -> Handler:
        """A handler for events about an import."""

        def handle(message: Message) -> Sequence[Emit]:
            event = storable(message.value)
            self._session.transact(lambda conn: record(conn, event))
            self._news.batch(event["batch_id"])
            return ()

        return handle


def storable(value: Mapping[str, Any]) -> dict[str, Any]:
    """The event without zero characters, which PostgreSQL's text and jsonb can't hold."""
    return cast(dict[str, Any], _storable(value))


def _storable(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "") if "\0" in value else value
    if isinstance(value, Mapping):
        return {key: _storable(one) for key, one in value.items()}
    if isinstance(value, list) and value and not isinstance(value[0], float):
        return [_storable(one) for one in value]
    return value


def handlers(recorder: Recorder) -> Mapping[str, Handler]:
    """Topic → handler."""
    requested = recorder.photo(results.record_request)
    return {
        **dict.fromkeys(names.PHOTO_ANALYSIS_REQUESTED.values(), requested),
        names.PHOTO_REJECTED: recorder.photo(results.record_rejection),
        names.PHOTO_OBJECTS_DETECTED: recorder.photo(results.record_objects),
        names.PHOTO_TEXT_READ: recorder.photo(results.record_text),
        names.PHOTO_EMBEDDED: recorder.photo(results.record_embedding),
        names.PHOTO_STAGE_FAILED: recorder.photo(results.record_failure),
        names.PHOTO_AUTO_LABELED: recorder.outcome,
        names.PHOTO_SUGGESTED: recorder.outcome,
        names.PHOTO_REVIEW_REQUESTED: recorder.outcome,
        names.BATCH_PROGRESSED: recorder.batch(results.record_progress),
        names.BATCH_COMPLETED: recorder.batch(results.record_completion),
    }

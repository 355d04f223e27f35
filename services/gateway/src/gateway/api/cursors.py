"""Cursors: places in a list, opaque to clients."""

import base64
import binascii
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.api.problems import ProblemError
from gateway.catalog.deliveries import NoticePlace
from gateway.catalog.failures import FailurePlace
from gateway.catalog.read import Place
from gateway.catalog.review_shapes import AnswerPlace
from gateway.catalog.schedules import RunPlace
from gateway.catalog.tasks import TaskPlace


def encode_place(place: Place | None) -> str | None:
    """The cursor of a place in the list of photos."""
    return None if place is None else _pack([place.created_at.isoformat(), str(place.photo_id)])


def decode_place(cursor: str | None) -> Place | None:
    """The place of a cursor; raises ProblemError for one that we did not make."""
    return None if cursor is None else Place(*_moment(cursor))


def encode_notice(place: NoticePlace | None) -> str | None:
    """The cursor of a place in the list of notices."""
    return None if place is None else _pack([place.recorded_at.isoformat(), str(place.notice_id)])


def decode_notice(cursor: str | None) -> NoticePlace | None:
    """The place of a cursor; raises ProblemError for one that we did not make."""
    return None if cursor is None else NoticePlace(*_moment(cursor))


def encode_run(place: RunPlace | None) -> str | None:
    """The cursor of a place in a job's history."""
    return None if place is None else _pack([place.started_at.isoformat(), str(place.run_id)])


def decode_run(cursor: str | None) -> RunPlace | None:
    """The place of a cursor; raises ProblemError for one that we did not make."""
    return None if cursor is None else RunPlace(*_moment(cursor))


def encode_answer(place: AnswerPlace | None) -> str | None:
    """The cursor of a place in the list of answers."""
    return None if place is None else _pack([place.answered_at.isoformat(), str(place.answer_id)])


def decode_answer(cursor: str | None) -> AnswerPlace | None:
    """The place of a cursor; raises ProblemError for one that we did not make."""
    return None if cursor is None else AnswerPlace(*_moment(cursor))


def encode_failure(place: FailurePlace | None) -> str | None:
    """The cursor of a place in the list of failures."""
    return None if place is None else _pack([place.failed_at.isoformat(), place.failure_id])


def decode_failure(cursor: str | None) -> FailurePlace | None:
    """The place of a cursor; raises ProblemError for one that we did not make."""
    if cursor is None:
        return None
    try:
        at, name = _unpack(cursor)
        place = FailurePlace(datetime.fromisoformat(at), str(name))
    except (ValueError, TypeError) as error:
        raise _foreign() from error
    if place.failed_at.tzinfo is None or "\0" in place.failure_id:
        raise _foreign()
    return place


def encode_task(place: TaskPlace | None) -> str | None:
    """The cursor of a place in the list of tasks."""
    if place is None:
        return None
    return _pack([place.at.isoformat(), str(place.analysis_id), place.stage])


def decode_task(cursor: str | None) -> TaskPlace | None:
    """The place of a cursor; raises ProblemError for one that we did not make."""
    if cursor is None:
        return None
    try:
        at, name, stage = _unpack(cursor)
        place = TaskPlace(datetime.fromisoformat(at), UUID(name), str(stage))
    except (ValueError, TypeError, AttributeError) as error:
        raise _foreign() from error
    if place.at.tzinfo is None or "\0" in place.stage:
        raise _foreign()
    return place


def _moment(cursor: str) -> tuple[datetime, UUID]:
    try:
        at, name = _unpack(cursor)
        moment, identity = datetime.fromisoformat(at), UUID(name)
    except (ValueError, TypeError, AttributeError) as error:
        raise _foreign() from error
    if moment.tzinfo is None:
        raise _foreign()
    return moment, identity


def encode_index(index: int | None) -> str | None:
    """The cursor after an index of an import."""
    return None if index is None else _pack([index])


def decode_index(cursor: str | None) -> int:
    """The index to go on after, -1 to begin; raises ProblemError for a foreign cursor."""
    if cursor is None:
        return -1
    try:
        (index,) = _unpack(cursor)
    except (ValueError, TypeError) as error:
        raise _foreign() from error
    if type(index) is not int or not 0 <= index < 2**63:
        raise _foreign()
    return index


def _foreign() -> ProblemError:
    return ProblemError(422, "invalid_cursor", "cursor: not one that an answer's `next` gave.")


def _pack(place: list[object]) -> str:
    text = json.dumps(place, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _unpack(cursor: str) -> list[Any]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(cursor) from error
    place = json.loads(text)
    if not isinstance(place, list):
        raise TypeError(cursor)
    return place

"""Photos that a person shall look at: given to one reviewer at a time, answered, taken back.

A photo's row in `reviews` is its question; a trigger keeps it at the newest outcome. Whoever gives
it, answers it or takes an answer back holds the row, so that all this happens one after the other.
"""

import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg

from darkroom_schemas import ids
from darkroom_schemas.names import REVIEW_ANSWERED
from gateway.catalog.labels import concerns
from gateway.catalog.outbox import Outbox
from gateway.catalog.read import links
from gateway.catalog.review_shapes import (
    Order,
    ReviewAnswer,
    ReviewError,
    ReviewItem,
    Said,
    Undone,
)
from gateway.db import Conn
from streamkit import Emit

MOST: Final = 20
"""Photos that one may be given at once."""

WITHDRAWN: Final = "withdrawn"
"""The answer of an event by which nothing that was said of a photo counts any more."""

AUDITED: Final = 0.1
"""Share of audits among the photos that somebody is given."""

_AHEAD: Final = 200
"""More than others may take at the very moment at which somebody is given photos."""

_TICK: Final = timedelta(milliseconds=1)
"""Answers about a photo are so far apart at least: events tell their time so precisely."""


def lease(
    conn: Conn,
    owner: str,
    who: str,
    count: int,
    order: Order,
    lease_s: float,
    lot: Callable[[], float] = random.random,
) -> list[ReviewItem]:
    """Give `who` at most `count` photos that nobody else looks at, for so many seconds.

    One of ten is an audit in the mean, as long as there are audits and others: `lot`, from 0 to 1,
    is drawn for the part of one that they come to. What they have skipped comes behind all others,
    the longest skipped first.
    """
    about: dict[str, Any] = {
        **{"owner": owner, "who": who, "lease_s": lease_s},
        "ahead": count + _AHEAD,
    }

    def taken(query: LiteralString, most: int) -> list[UUID]:
        rows = conn.execute(query, {**about, "count": most}).fetchall() if most else []
        return [row["photo_id"] for row in sorted(rows, key=lambda row: int(row["place"]))]

    with conn.transaction():
        audits = taken(_AUDITS, int(count * AUDITED + lot()))
        given = taken(_FRESH[order], count - len(audits)) + audits
        for query in (_AUDITS, _SKIPPED):
            given += taken(query, count - len(given))
        rows = conn.execute(_ITEMS, {"photos": given}).fetchall()
    items = {row["photo_id"]: _item(row) for row in rows}
    return [items[one] for one in given]


_SKIPS: LiteralString = """
SELECT s.answered_at FROM review_answers s WHERE s.photo_id = r.photo_id
  AND s.analysis_id = r.analysis_id AND s.revision = r.revision
  AND s.reviewer = %(who)s AND s.answer = 'skip' AND s.undone_at IS NULL
"""

_FREE: LiteralString = """
r.owner = %(owner)s AND r.waiting AND coalesce(r.leased_until <= now(), true)
  AND EXISTS (SELECT FROM photos p WHERE p.photo_id = r.photo_id AND p.thumbnail_uri IS NOT NULL)
"""


def _leased(chosen: LiteralString) -> LiteralString:
    """Lease the rows that a query chooses, whose table is `r`, and that nobody holds just now.

    A row that somebody else was given since the statement began is looked at again once it can be
    locked, and is then free no more: so nobody gets it twice.
    """
    return (
        "WITH chosen AS (SELECT r.photo_id"  # noqa: S608  # literals only
        + chosen
        + " LIMIT %(count)s FOR UPDATE OF r SKIP LOCKED),"
        " placed AS (SELECT photo_id, row_number() OVER () AS place FROM chosen)"
        " UPDATE reviews r SET lease = gen_random_uuid(), leased_to = %(who)s,"
        " leased_until = now() + make_interval(secs => %(lease_s)s),"
        " leased_analysis = r.analysis_id, leased_revision = r.revision"
        " FROM placed WHERE placed.photo_id = r.photo_id RETURNING r.photo_id, placed.place"
    )


_FRESH_ONES: LiteralString = _FREE + " AND NOT EXISTS (" + _SKIPS + ")"
_OTHERS: LiteralString = "NOT r.audit AND " + _FRESH_ONES

_RANKED: LiteralString = (
    "k.photo_id = r.photo_id AND k.analysis_id = r.analysis_id AND k.revision = r.revision"
)

_USEFUL: LiteralString = (
    # The ones in front of those that have a rank and of those that have none, as one row.
    " FROM ((SELECT r.photo_id, k.useful, k.place FROM review_ranks k"  # noqa: S608  # literals only
    " JOIN reviews r ON " + _RANKED + " WHERE k.owner = %(owner)s AND " + _OTHERS
    + " ORDER BY k.place LIMIT %(ahead)s) UNION ALL ("
    "SELECT r.photo_id, r.doubt, NULL FROM reviews r WHERE " + _OTHERS
    + " AND NOT EXISTS (SELECT FROM review_ranks k WHERE " + _RANKED + ")"
    " ORDER BY r.doubt DESC, r.decided_at DESC, r.photo_id LIMIT %(ahead)s)) AS front"
    " JOIN reviews r USING (photo_id) WHERE NOT r.audit AND " + _FREE
    + " ORDER BY front.useful DESC, front.place, r.decided_at DESC, r.photo_id"
)  # fmt: skip

# As the indexes have it: the rows in front are read, and no others.
_FRESH: Final[Mapping[Order, LiteralString]] = {
    "useful": _leased(_USEFUL),
    "uncertain": _leased(
        " FROM reviews r WHERE " + _OTHERS + " ORDER BY r.doubt DESC, r.decided_at DESC, r.photo_id"
    ),
    "newest": _leased(
        " FROM reviews r WHERE " + _OTHERS + " ORDER BY r.decided_at DESC, r.photo_id"
    ),
    "oldest": _leased(
        " FROM reviews r WHERE " + _OTHERS + " ORDER BY r.decided_at, r.photo_id DESC"
    ),
}

_AUDITS: Final = _leased(
    " FROM reviews r WHERE r.audit AND " + _FRESH_ONES
    + " ORDER BY photo_lot(r.photo_id), r.photo_id"
)  # fmt: skip

_SKIPPED: Final = _leased(
    " FROM reviews r CROSS JOIN LATERAL (" + _SKIPS + " ORDER BY s.answered_at DESC LIMIT 1) s"
    " WHERE " + _FREE + " ORDER BY s.answered_at, r.photo_id"
)

_ITEMS: Final = """
SELECT r.*, p.file_name, p.rendition_uri, p.source_uri, p.thumbnail_uri, o.confidence,
  o.calibrated, o.labels, o.category, o.reason, o.partial
FROM reviews r JOIN photos p USING (photo_id)
JOIN outcomes o ON o.analysis_id = r.analysis_id AND o.revision = r.revision
WHERE r.photo_id = ANY(%(photos)s)
"""


def _item(row: Mapping[str, Any]) -> ReviewItem:
    labels = sorted(row["labels"], key=lambda label: -label["confidence"])
    return ReviewItem.model_validate(
        {**_texts(row), "labels": labels, "links": links(row), "lease": str(row["lease"])}
    )


def release(conn: Conn, owner: str, photo_id: UUID, who: str, lease: UUID | None) -> bool:
    """Give a photo back before its lease ends; whether `who`, or whoever has this lease, had it."""
    released = conn.execute(
        "UPDATE reviews SET lease = NULL, leased_to = NULL, leased_until = NULL"
        " WHERE owner = %(owner)s AND photo_id = %(photo)s AND lease IS NOT NULL"
        " AND CASE WHEN %(lease)s::uuid IS NULL THEN leased_to = %(who)s"
        " ELSE lease = %(lease)s END",
        {"owner": owner, "photo": photo_id, "who": who, "lease": lease},
    )
    return released.rowcount > 0


def answer(
    conn: Conn, outbox: Outbox, owner: str, photo_id: UUID, said: Said
) -> ReviewAnswer | None:
    """Record an answer, in one transaction with its event; the same again is the same.

    None if the owner has no such photo; raises ReviewError.
    """
    with conn.transaction():
        question = _question(conn, owner, photo_id)
        if question is None:
            return None
        before = _answer_of(conn, said.answer_id)
        if before is not None:
            return _repeated(before, owner, photo_id, said)
        _check_lease(question, said)
        row = _row(question, said, _moment(conn, question))
        _add(conn, row)
        said_nothing = said.answer == "skip"
        conn.execute(
            "UPDATE reviews SET lease = NULL, leased_to = NULL, leased_until = NULL,"
            " waiting = waiting AND %(skip)s,"
            " answer_id = CASE WHEN %(skip)s THEN answer_id ELSE %(answer_id)s END"
            " WHERE photo_id = %(photo_id)s",
            {**row, "skip": said_nothing},
        )
        outbox.add(conn, [_event(row)])
    return answer_shown(row)


_QUESTION: LiteralString = (
    """
SELECT r.*, clock_timestamp() AS now, r.leased_until > now() AS held,
  o.confidence, o.calibrated, (
    SELECT y.model_version
    FROM jsonb_to_recordset(o.parts) AS u (stage text, revision int)
    JOIN parts y ON y.analysis_id = o.analysis_id AND y.stage = u.stage AND y.revision = u.revision
    WHERE y.stage = 'detector' OR (y.stage = 'embedder'
      AND y.body->'labels' @> jsonb_build_array(jsonb_build_object('name', o.label)))
    ORDER BY y.stage DESC LIMIT 1) AS model_version,
  EXISTS (SELECT FROM given_examples g WHERE g.photo_id = r.photo_id AND NOT g.removed)
  OR EXISTS (SELECT FROM review_answers b JOIN label_sets l ON l.owner = b.owner
    WHERE b.photo_id = r.photo_id AND b.undone_at IS NULL
      AND (b.analysis_id, b.revision) <> (r.analysis_id, r.revision)
      AND """  # noqa: S608  # literals only
    + concerns("b")
    + """) AS taught
FROM reviews r JOIN outcomes o ON o.analysis_id = r.analysis_id AND o.revision = r.revision
WHERE r.photo_id = %(photo)s AND r.owner = %(owner)s
"""
)
"""The user's own labels, which the embedder gives, go before the detector's; see the aggregator.
`taught`: the photo is an example already, of what was said of it beside its reviews or of an
outcome before."""


def _question(conn: Conn, owner: str, photo_id: UUID) -> Mapping[str, Any] | None:
    """What is asked about a photo, held until the end of the transaction. Raises ReviewError for
    a photo that has no outcome yet; None if there is no such photo."""
    # Held first, read after: a row that has waited for its lock joins outcomes of before.
    held = "SELECT FROM reviews WHERE photo_id = %(photo)s AND owner = %(owner)s FOR UPDATE"
    about = {"photo": photo_id, "owner": owner}
    conn.execute(held, about)
    row = conn.execute(_QUESTION, about).fetchone()
    if row is not None:
        return row
    known = "SELECT FROM photos WHERE photo_id = %(photo)s AND owner = %(owner)s"
    if conn.execute(known, about).fetchone() is None:
        return None
    raise ReviewError("no_outcome", "The photo has no outcome that could be answered.")


def _answer_of(conn: Conn, answer_id: UUID) -> Mapping[str, Any] | None:
    return conn.execute(
        "SELECT * FROM review_answers WHERE answer_id = %s", (answer_id,)
    ).fetchone()


def _repeated(before: Mapping[str, Any], owner: str, photo_id: UUID, said: Said) -> ReviewAnswer:
    same = (
        (str(before["owner"]), before["photo_id"]) == (owner, photo_id)
        and (before["answer"], before["reviewer"]) == (said.answer, said.reviewer)
        and said.label in (before["label"], None)
    )
    if not same:
        raise _taken()
    return answer_shown(before)


def _check_lease(question: Mapping[str, Any], said: Said) -> None:
    """Raises ReviewError where somebody else looks at the photo, or where another outcome is
    there than the one that was looked at."""
    own = question["lease"] == said.lease if said.lease else question["leased_to"] == said.reviewer
    if question["held"] and not own:
        until = question["leased_until"].isoformat()
        about = {"leased_to": question["leased_to"], "leased_until": until}
        raise ReviewError("leased", f"{about['leased_to']} looks at this photo.", **about)
    if said.lease and not own:
        raise ReviewError("lease_over", "The lease is over, and was not the last one: ask anew.")
    current = question["analysis_id"], question["revision"]
    leased = question["leased_analysis"], question["leased_revision"]
    shown = leased if own and question["lease"] else current
    seen = tuple(one if one is not None else now for one, now in zip(said.seen, shown, strict=True))
    if seen != current:
        raise ReviewError(
            "outcome_changed",
            f"The photo has another outcome by now, with revision {current[1]}: look again.",
            analysis_id=str(current[0]),
            revision=current[1],
        )


def _row(question: Mapping[str, Any], said: Said, at: datetime) -> dict[str, Any]:
    """The answer as it is written down. Raises ReviewError for one that makes no sense."""
    return {
        **{name: question[name] for name in ("owner", "photo_id", "analysis_id", "revision")},
        **{name: question[name] for name in ("calibrated", "model_version")},
        **{"answer_id": said.answer_id, "reviewer": said.reviewer, "answer": said.answer},
        "label": label_of(said, question["label"]),
        **{name: question[name] for name in ("audit", "taught")},
        "suggested_label": question["label"],
        "suggested_confidence": question["confidence"],
        "answered_at": at,
        "undone_at": None,
    }


def label_of(said: Said, suggested: str | None) -> str | None:
    """The label that an answer says. Raises ReviewError."""
    if said.answer == "correct":
        if said.label is None:
            raise ReviewError("label_missing", "Say which label is right.", 422)
        if said.label == suggested:
            raise ReviewError("same_label", f"{suggested} was suggested: confirm it.", 422)
        return said.label
    if said.answer == "confirm" and suggested is None:
        raise ReviewError("nothing_to_confirm", "No label was suggested: correct it.", 422)
    allowed = suggested if said.answer == "confirm" else None
    if said.label not in (None, allowed):
        raise ReviewError("label_not_meant", f"An answer {said.answer} has no label.", 422)
    return allowed


def _moment(conn: Conn, question: Mapping[str, Any]) -> datetime:
    """When an answer is given: by the catalog's clock, and after all before it."""
    row = conn.execute(
        "SELECT max(greatest(answered_at, undone_at)) AS at FROM review_answers"
        " WHERE photo_id = %s",
        (question["photo_id"],),
    ).fetchone()
    now: datetime = question["now"]
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    last = row["at"] if row else None
    return now if last is None else max(now, last + _TICK)


def _add(conn: Conn, row: Mapping[str, Any]) -> None:
    try:
        conn.execute(_ADD, row)
    except psycopg.errors.UniqueViolation as error:  # of another photo, at this very moment
        raise _taken() from error


def _taken() -> ReviewError:
    return ReviewError("answer_id_taken", "Another answer has this answer_id already.")


_ADD: Final = """
INSERT INTO review_answers (answer_id, owner, photo_id, analysis_id, revision, reviewer, answer,
  label, suggested_label, suggested_confidence, calibrated, model_version, audit, taught,
  answered_at)
VALUES (%(answer_id)s, %(owner)s, %(photo_id)s, %(analysis_id)s, %(revision)s, %(reviewer)s,
  %(answer)s, %(label)s, %(suggested_label)s, %(suggested_confidence)s, %(calibrated)s,
  %(model_version)s, %(audit)s, %(taught)s, %(answered_at)s)
"""


def undo(
    conn: Conn, outbox: Outbox, owner: str, photo_id: UUID, who: str, answer_id: UUID | None
) -> Undone | None:
    """Take back an answer of `who`, the last about this photo unless they name one; repeated for
    a named one it is harmless.

    If it was what held of the photo, an event tells what holds then: the answer before it once
    more, else that nothing does. None if the owner has no such photo; raises ReviewError.
    """
    with conn.transaction():
        question = _question(conn, owner, photo_id)
        if question is None:
            return None
        row = conn.execute(
            _OF_REVIEWER, {"photo": photo_id, "who": who, "answer": answer_id}
        ).fetchone()
        if row is None:
            raise ReviewError("nothing_to_undo", f"{who} has no such answer about this photo.")
        if row["undone_at"] is None:
            at = _moment(conn, question)
            row = {**row, "undone_at": at}
            conn.execute(
                "UPDATE review_answers SET undone_at = %(undone_at)s"
                " WHERE answer_id = %(answer_id)s",
                row,
            )
            holds = conn.execute(_HOLDS, (photo_id,)).fetchone()
            if question["answer_id"] == row["answer_id"]:
                _set(conn, question, holds)
                outbox.add(conn, [_undone_event(row, holds, at)])
        else:
            holds = conn.execute(_HOLDS, (photo_id,)).fetchone()
    return Undone(undone=answer_shown(row), holds=answer_shown(holds) if holds else None)


_OF_REVIEWER: Final = """
SELECT * FROM review_answers WHERE photo_id = %(photo)s AND reviewer = %(who)s
  AND CASE WHEN %(answer)s::uuid IS NULL THEN undone_at IS NULL ELSE answer_id = %(answer)s END
ORDER BY answered_at DESC LIMIT 1
"""

_HOLDS: Final = """
SELECT * FROM review_answers WHERE photo_id = %s AND answer <> 'skip' AND undone_at IS NULL
ORDER BY answered_at DESC LIMIT 1
"""


def _set(conn: Conn, question: Mapping[str, Any], holds: Mapping[str, Any] | None) -> None:
    """Write down what holds of a photo; if nothing does of its newest outcome, it waits again."""
    answered = holds is not None and (
        (holds["analysis_id"], holds["revision"]) == (question["analysis_id"], question["revision"])
        or holds["label"] == question["label"]
    )
    said = holds and holds["answer_id"]
    conn.execute(
        "UPDATE reviews SET answer_id = %s,"
        " waiting = (outcome <> 'auto_labeled' OR audit) AND NOT (%s OR"
        " review_said(photo_id, label, %s)) WHERE photo_id = %s",
        (said, answered, said, question["photo_id"]),
    )


def _undone_event(undone: Mapping[str, Any], holds: Mapping[str, Any] | None, at: datetime) -> Emit:
    nothing = {**undone, "answer": WITHDRAWN, "label": None}
    named = UUID(ids.batch_event_id(str(undone["answer_id"]), "undone"))
    return _event({**(holds or nothing), "answer_id": named, "answered_at": at})


def _event(row: Mapping[str, Any]) -> Emit:
    value = {name: one for name, one in _texts(row).items() if name not in _UNTOLD}
    return Emit(REVIEW_ANSWERED, value["photo_id"], value, value["answer_id"])


def said(conn: Conn, after: UUID, limit: int) -> list[Emit]:
    """Events of answers with ids behind `after` that were not taken back, once more."""
    rows = conn.execute(
        "SELECT * FROM review_answers WHERE answer_id > %s AND undone_at IS NULL"
        " ORDER BY answer_id LIMIT %s",
        (after, limit),
    )
    return [_event(row) for row in rows]


_UNTOLD: Final = frozenset({"undone_at", "audit", "taught"})


def answer_shown(row: Mapping[str, Any]) -> ReviewAnswer:
    """The answer of a row."""
    return ReviewAnswer.model_validate(_texts(row))


def _texts(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its ids as texts."""
    return {name: str(one) if isinstance(one, UUID) else one for name, one in row.items()}

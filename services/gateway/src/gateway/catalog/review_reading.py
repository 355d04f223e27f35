"""How much is to be looked at, and what was answered; contracts as in `read`."""

from uuid import UUID

from gateway.catalog.review_shapes import (
    AnswerPlace,
    ReviewAnswer,
    ReviewerToday,
    Reviews,
    WaitingLabel,
)
from gateway.catalog.reviews import answer_shown
from gateway.catalog.shapes import Outcome
from gateway.db import Conn

_MOST_LABELS = 200


def reviews(conn: Conn, owner: str) -> Reviews:
    """What waits, and what was answered since midnight, UTC."""
    rows = conn.execute(
        "SELECT outcome, label, audit, count(*) AS waiting,"
        " count(*) FILTER (WHERE leased_until > now()) AS leased"
        " FROM reviews WHERE owner = %s AND waiting GROUP BY outcome, label, audit"
        " ORDER BY waiting DESC, outcome, label",
        (owner,),
    ).fetchall()
    by_outcome: dict[Outcome, int] = {"review": 0, "suggested": 0}
    for row in rows:
        if not row["audit"]:
            by_outcome[row["outcome"]] += row["waiting"]
    today = [ReviewerToday.model_validate(row) for row in conn.execute(_TODAY, (owner,))]
    return Reviews(
        waiting=sum(row["waiting"] for row in rows),
        leased=sum(row["leased"] for row in rows),
        audits=sum(row["waiting"] for row in rows if row["audit"]),
        by_outcome=by_outcome,
        by_label=[WaitingLabel.model_validate(row) for row in rows[:_MOST_LABELS]],
        answered_today=sum(one.answers for one in today),
        today=today,
    )


_TODAY = """
SELECT reviewer, count(*) AS answers,
  count(*) FILTER (WHERE answer = 'confirm') AS confirm,
  count(*) FILTER (WHERE answer = 'correct') AS correct,
  count(*) FILTER (WHERE answer = 'none') AS none,
  count(*) FILTER (WHERE answer = 'skip') AS skip
FROM review_answers
WHERE owner = %s AND answered_at >= date_trunc('day', now(), 'UTC') AND undone_at IS NULL
GROUP BY reviewer ORDER BY answers DESC, reviewer
"""


def answers(
    conn: Conn,
    owner: str,
    chosen: tuple[UUID | None, str | None],
    after: AnswerPlace | None,
    limit: int,
) -> tuple[list[ReviewAnswer], AnswerPlace | None]:
    """At most `limit` answers after a place, newest first, and the place to go on from; `chosen`
    are a photo and a reviewer, None for any."""
    photo, reviewer = chosen
    rows = conn.execute(
        "SELECT * FROM review_answers WHERE owner = %(owner)s"
        " AND (%(photo)s::uuid IS NULL OR photo_id = %(photo)s)"
        " AND (%(reviewer)s::text IS NULL OR reviewer = %(reviewer)s)"
        " AND (%(at)s::timestamptz IS NULL OR answered_at < %(at)s"
        "  OR (answered_at = %(at)s AND answer_id > %(id)s))"
        " ORDER BY answered_at DESC, answer_id LIMIT %(limit)s",
        {
            **{"owner": owner, "photo": photo, "reviewer": reviewer, "limit": limit + 1},
            "at": after.answered_at if after else None,
            "id": after.answer_id if after else None,
        },
    ).fetchall()
    here = rows[:limit]
    more = len(rows) > limit
    place = AnswerPlace(here[-1]["answered_at"], here[-1]["answer_id"]) if more else None
    return [answer_shown(row) for row in here], place

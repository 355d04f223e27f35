"""What shadow versions say beside those that hold; contracts as in `results`."""

import math
from operator import itemgetter
from typing import Final

from darkroom_schemas.events import PhotoModelCompared
from gateway.catalog.model_shapes import Disagreement, ShadowReport
from gateway.catalog.models import shown
from gateway.db import Conn

_Z: Final = 1.959964
"""Of the normal distribution, for 95 %."""


def record_comparisons(conn: Conn, *events: PhotoModelCompared) -> None:
    """The first one of a photo's analysis stands."""
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO model_comparisons (
              analysis_id, stage, revision, shadow_version, active_version, photo_id, owner, agrees,
              difference, active_says, shadow_says, active_confidence, shadow_confidence, active_ms,
              shadow_ms, error, compared_at)
            VALUES (
              %(analysis_id)s, %(stage)s, %(revision)s, %(shadow_version)s, %(active_version)s,
              %(photo_id)s, %(owner)s, %(agrees)s, %(difference)s, %(active_says)s,
              %(shadow_says)s, %(active_confidence)s, %(shadow_confidence)s, %(active_ms)s,
              %(shadow_ms)s, %(error)s, %(compared_at)s)
            ON CONFLICT DO NOTHING
            """,
            sorted(events, key=itemgetter("photo_id")),
        )


def shadow_report(conn: Conn, owner: str, name: str, shadow: str, limit: int) -> ShadowReport:
    """How a version agrees with those that held beside it; at most `limit` disagreements."""
    about = {"stage": name, "shadow": shadow, "owner": owner}
    row = conn.execute(
        """
        SELECT count(*) AS photos, count(*) FILTER (WHERE agrees) AS agreed,
          count(error) AS failed, avg(difference) AS mean_difference,
          percentile_cont(0.5) WITHIN GROUP (ORDER BY active_ms) AS active_ms,
          percentile_cont(0.5) WITHIN GROUP (ORDER BY shadow_ms)
            FILTER (WHERE error IS NULL) AS shadow_ms
        FROM model_comparisons
        WHERE stage = %(stage)s AND shadow_version = %(shadow)s AND owner = %(owner)s
        """,
        about,
    ).fetchone()
    apart = conn.execute(
        """
        SELECT photo_id::text, difference, active_says, shadow_says, active_confidence,
          shadow_confidence, error, compared_at
        FROM model_comparisons
        WHERE stage = %(stage)s AND shadow_version = %(shadow)s AND owner = %(owner)s
          AND NOT agrees
        ORDER BY difference DESC, photo_id LIMIT %(limit)s
        """,
        {**about, "limit": limit},
    ).fetchall()
    counts = row or {"photos": 0, "agreed": 0}
    low, high = wilson(counts["agreed"], counts["photos"])
    return ShadowReport.model_validate(
        {
            "name": shown(name),
            "shadow": shadow,
            **counts,
            "agreement": counts["agreed"] / counts["photos"] if counts["photos"] else None,
            "agreement_low": low,
            "agreement_high": high,
            "disagreements": [Disagreement.model_validate(one) for one in apart],
        }
    )


def wilson(successes: int, n: int) -> tuple[float, float] | tuple[None, None]:
    """The 95 % score interval of a proportion (Wilson, 1927); of no trials none."""
    if n == 0:
        return None, None
    p, z2 = successes / n, _Z * _Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)

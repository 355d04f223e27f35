"""How often labels are right by people's answers, and what thresholds that suggests.

What counts is what holds of a photo, about the label and the confidence that it was asked about.
Of labels that were given without asking only audits count: a person who says on their own what a
photo shows does so because the label is wrong. Answers about photos that were examples
before tell how well those were learned, and do not count.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.catalog import policies
from gateway.catalog.policies import Policy, Thresholds
from gateway.catalog.precision_shapes import (
    ConfidenceBand,
    LabelPrecision,
    Measured,
    PolicySuggestions,
    Precisions,
    Rerouted,
    SamplePhoto,
    Suggestion,
)
from gateway.catalog.thresholds import BANDS, LEAST, Answered, Found, Stratum, lowest
from gateway.db import Conn

_MOST_LABELS: Final = 200
_MOST_ANSWERS: Final = 50_000
"""The latest."""

_USUALLY_BELOW: Final = 0.5
"""What the aggregator's settings say, if nobody changed them: who is asked stays as it is."""

Answers = Mapping[str, Sequence[Answered]]


def precision(conn: Conn, owner: str) -> Precisions:
    """How often labels are right."""
    answers = _answers(conn, owner, None)
    items = [_label(label, told) for label, told in answers.items()]
    everything = [one.right for told in answers.values() for one in told if one.audit]
    return Precisions(audits=Measured.of(everything), items=items)


def _answers(conn: Conn, owner: str, label: str | None) -> Answers:
    """By label, those with most answers first."""
    rows = conn.execute(_ANSWERS, {"owner": owner, "label": label, "most": _MOST_ANSWERS})
    found: dict[str, list[Answered]] = defaultdict(list)
    for row in rows:
        found[row["label"]].append(Answered(row["confidence"], row["right"], row["audit"]))
    ordered = sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))
    return dict(ordered[:_MOST_LABELS])


_ANSWERS: Final = """
SELECT a.suggested_label AS label, a.suggested_confidence AS confidence, a.audit,
  a.label IS NOT DISTINCT FROM a.suggested_label AS right
FROM reviews r JOIN review_answers a USING (answer_id)
JOIN outcomes o ON o.analysis_id = a.analysis_id AND o.revision = a.revision
WHERE r.owner = %(owner)s AND a.suggested_confidence IS NOT NULL
  AND (%(label)s::text IS NULL OR a.suggested_label = %(label)s)
  AND a.suggested_label IS NOT NULL AND NOT a.taught AND (a.audit OR o.outcome <> 'auto_labeled')
ORDER BY a.answered_at DESC LIMIT %(most)s
"""


def _label(label: str, told: Sequence[Answered]) -> LabelPrecision:
    strata: dict[Stratum, list[bool]] = defaultdict(list)
    for one in told:
        strata[one.stratum].append(one.right)
    return LabelPrecision(
        label=label,
        audits=Measured.of([one.right for one in told if one.audit]),
        asked=Measured.of([one.right for one in told if not one.audit]),
        bands=[
            ConfidenceBand(
                least=at / BANDS,
                below=(at + 1) / BANDS,
                audits=Measured.of(strata.get((True, at), [])),
                asked=Measured.of(strata.get((False, at), [])),
            )
            for at in sorted({at for _, at in strata})
        ],
    )


def suggestions(conn: Conn, owner: str, target: float, label: str | None) -> PolicySuggestions:
    """Thresholds for each label that people answered, or for this one."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        policy = policies.current(conn)
        answers = _answers(conn, owner, label)
        photos = _photos(conn, owner, list(answers))
        found = {name: lowest(told, photos[name], target) for name, told in answers.items()}
        wanted = {
            name: _thresholds(one.auto_above, _now(policy, name))
            for name, one in found.items()
            if one.auto_above is not None
        }
        changes = _changes(conn, owner, wanted)
    return PolicySuggestions(
        target=target,
        revision=policy.revision if policy else policies.FIRST,
        items=[
            Suggestion(
                label=name,
                state=_state(len(answers[name]), one),
                answers=len(answers[name]),
                missing=one.missing,
                now=_now(policy, name),
                thresholds=wanted.get(name),
                precision=one.precision,
                low=one.low,
                changes=changes.get(name, []),
            )
            for name, one in sorted(found.items())
        ],
    )


def _state(answers: int, found: Found) -> Any:
    if found.auto_above is not None:
        return "suggested"
    return "too_few_answers" if answers < LEAST else "not_reached"


def _now(policy: Policy | None, label: str) -> Thresholds | None:
    if policy is None:
        return None
    general = Thresholds(auto_above=policy.auto_above, review_below=policy.review_below)
    return policy.labels.get(label, general)


def _thresholds(auto_above: float, now: Thresholds | None) -> Thresholds:
    below = now.review_below if now else _USUALLY_BELOW
    return Thresholds(auto_above=auto_above, review_below=min(below, auto_above))


def _photos(conn: Conn, owner: str, names: Sequence[str]) -> dict[str, dict[Stratum, int]]:
    """Photos by label and stratum, but for those that are examples; of those that were labelled
    without asking, those that can be audited."""
    found: dict[str, dict[Stratum, int]] = {name: {} for name in names}
    rows = conn.execute(_PHOTOS, {"owner": owner, "labels": list(names), "bands": BANDS})
    for row in rows:
        found[row["label"]][row["auto"], row["band"]] = row["photos"]
    return found


_PHOTOS: Final = """
SELECT label, outcome = 'auto_labeled' AS auto,
  least(floor((1 - doubt) * %(bands)s)::int, %(bands)s - 1) AS band, count(*) AS photos
FROM reviews r
WHERE owner = %(owner)s AND label = ANY(%(labels)s)
  AND (outcome <> 'auto_labeled' OR audit OR answer_id IS NULL)
  AND CASE WHEN answer_id IS NULL
    THEN NOT EXISTS (SELECT FROM given_examples g WHERE g.photo_id = r.photo_id AND NOT g.removed)
    ELSE NOT EXISTS (SELECT FROM review_answers a WHERE a.answer_id = r.answer_id AND a.taught) END
GROUP BY 1, 2, 3
"""


def _changes(conn: Conn, owner: str, wanted: Mapping[str, Thresholds]) -> dict[str, list[Rerouted]]:
    """What would become of the photos that are shown, as the aggregator decides."""
    found: dict[str, list[Rerouted]] = defaultdict(list)
    given = {
        "owner": owner,
        "labels": list(wanted),
        "above": [one.auto_above for one in wanted.values()],
        "below": [one.review_below for one in wanted.values()],
    }
    for row in conn.execute(_CHANGES, given) if wanted else ():
        samples = [
            SamplePhoto(photo_id=str(one), thumbnail=f"/v1/photos/{one}/thumbnail")
            for one in row["samples"]
        ]
        found[row["label"]].append(Rerouted.model_validate({**row, "samples": samples}))
    return found


_CHANGES: Final = """
SELECT label, now, "then", count(*) AS photos,
  (array_agg(photo_id ORDER BY photo_lot(photo_id)))[1:5] AS samples
FROM (
  SELECT r.label, r.photo_id, r.outcome AS now, CASE
      WHEN o.partial OR o.confidence < w.below THEN 'review'
      WHEN o.confidence > w.above THEN 'auto_labeled' ELSE 'suggested' END AS "then"
  FROM unnest(%(labels)s::text[], %(above)s::float8[], %(below)s::float8[])
    AS w (label, above, below)
  JOIN reviews r ON r.owner = %(owner)s AND r.label = w.label
  JOIN outcomes o ON o.analysis_id = r.analysis_id AND o.revision = r.revision) AS routed
GROUP BY label, now, "then" ORDER BY label, now, "then"
"""

"""The user's own labels, in sets that each have a model, and the photos that show them.

An example is never written down for an answer of a review: it is read from what holds of the
photo, so that it follows whatever becomes of the answer, or of the set's labels. Of what people
said of a photo beside that, the last word is kept, and a person's goes before a machine's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

from darkroom_schemas.heads import head_name
from gateway import locks
from gateway.catalog.audit import audit
from gateway.catalog.label_shapes import (
    DEFAULT_SET,
    NONE,
    Example,
    LabelCount,
    LabelSet,
    Wish,
    verdict,
)
from gateway.catalog.read import Place
from gateway.db import Conn

SOURCES: Final = ("person", "review", "folder", "auto")


def concerns(answer: LiteralString) -> LiteralString:
    """Whether an answer of a review says something of the set `l`: its label is one of the set's,
    or it is that none fits where one of the set's was suggested. Where what was suggested is no
    label of any set, it is the set that is meant unless another one is named."""
    return f"""({answer}.answer <> 'skip' AND ({answer}.label = ANY(l.labels)
    OR {answer}.label IS NULL AND ({answer}.suggested_label = ANY(l.labels)
      OR l.name = '{DEFAULT_SET}' AND NOT EXISTS (SELECT FROM label_sets o
        WHERE o.owner = l.owner AND {answer}.suggested_label = ANY(o.labels)))))"""


_EXAMPLES: LiteralString = (
    """
WITH said AS (
  SELECT photo_id, label, source, removed, said_by, said_at FROM given_examples
  WHERE owner = %(owner)s AND set_name = %(set)s
  UNION ALL
  SELECT r.photo_id, a.label, 'review', false, a.reviewer, a.answered_at
  FROM label_sets l JOIN reviews r ON r.owner = l.owner JOIN review_answers a USING (answer_id)
  WHERE l.owner = %(owner)s AND l.name = %(set)s AND (a.label IS NOT NULL OR """  # noqa: S608
    + concerns("a")
    + """)),
newest AS (SELECT DISTINCT ON (photo_id) * FROM said ORDER BY photo_id, said_at DESC),
examples AS (
  SELECT n.* FROM newest n JOIN label_sets l ON l.owner = %(owner)s AND l.name = %(set)s
  WHERE NOT n.removed AND (n.label IS NULL OR n.label = ANY(l.labels))
    AND (NOT EXISTS (SELECT FROM rejections x WHERE x.photo_id = n.photo_id)
      OR EXISTS (SELECT FROM outcomes o WHERE o.photo_id = n.photo_id)))
"""
)
"""Begins a query with `examples` of a set: photos of which the last that people said is one of its
labels, or that none fits. Who says in a review that a photo shows something else takes back what
was said of it before. Photos that intake refused are none."""


_AUTO: LiteralString = """, autos AS (
  SELECT auto.*, 'auto' AS source FROM label_sets l
  CROSS JOIN LATERAL (
    SELECT label, count(*) AS most FROM examples WHERE label = ANY(l.labels) GROUP BY label) given
  CROSS JOIN LATERAL (
    SELECT r.photo_id, r.label, own.head_version AS said_by, r.decided_at AS said_at
    FROM reviews r JOIN outcomes o ON o.analysis_id = r.analysis_id AND o.revision = r.revision
    CROSS JOIN LATERAL jsonb_to_recordset(o.parts) AS u (stage text, revision int)
    JOIN parts y ON y.analysis_id = r.analysis_id AND y.stage = u.stage AND y.revision = u.revision
    CROSS JOIN LATERAL jsonb_to_recordset(y.body->'labels')
      AS own (name text, head text, head_version text)
    WHERE r.owner = l.owner AND r.outcome = 'auto_labeled' AND r.label = given.label
      AND NOT r.audit AND r.answer_id IS NULL AND u.stage = 'embedder'
      AND own.name = r.label AND own.head = %(head)s
      AND NOT EXISTS (SELECT FROM said s WHERE s.photo_id = r.photo_id)
    ORDER BY photo_lot(r.photo_id) DESC LIMIT given.most) auto
  WHERE l.owner = %(owner)s AND l.name = %(set)s)
"""
"""Goes on with `autos`: photos that the set's own head labelled without asking, where nobody has
said anything since. Of each label as many as people gave, by their lots and not by how sure the
head was: those that it is surest of are the ones that it learns nothing from. Audits are drawn from
the other end."""

_COLUMNS: LiteralString = "SELECT photo_id, label, source, said_by, said_at FROM "


def _taught(auto: bool) -> LiteralString:
    """Begins a query with `taught`: what a model learns from."""
    more: LiteralString = _AUTO if auto else ""
    autos: LiteralString = " UNION ALL " + _COLUMNS + "autos" if auto else ""
    return _EXAMPLES + more + ", taught AS (" + _COLUMNS + "examples" + autos + ")\n"


_COUNT: LiteralString = "SELECT count(label) AS rows FROM examples"

_COUNTS: LiteralString = (
    "SELECT label, source, count(*)::int AS examples FROM taught GROUP BY label, source"
)

_ALL: LiteralString = "SELECT * FROM taught ORDER BY photo_id"

_OF_PHOTOS: LiteralString = "SELECT * FROM examples WHERE photo_id = ANY(%(photos)s)"


class LabelSetError(Exception):
    """A wish about examples that can't be met: a stable code and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def count_examples(conn: Conn, owner: str, name: str) -> int:
    """How many examples the owner has of a model's labels; those of `none` alone tell nothing."""
    row = conn.execute(_EXAMPLES + _COUNT, {"owner": owner, "set": name}).fetchone()
    return int(row["rows"]) if row else 0


def label_sets(conn: Conn, owner: str, least: int, auto: bool = True) -> list[LabelSet]:
    """All sets of the owner; `least` examples of each label that people gave are enough. `auto`:
    whether those that a machine gave are examples."""
    rows = conn.execute(
        "SELECT * FROM label_sets WHERE owner = %s ORDER BY name", (owner,)
    ).fetchall()
    return [_set(conn, row, least, auto) for row in rows]


def label_set(conn: Conn, owner: str, name: str, least: int, auto: bool = True) -> LabelSet | None:
    """The owner's set of this name; see `label_sets`."""
    row = conn.execute(
        "SELECT * FROM label_sets WHERE owner = %s AND name = %s", (owner, name)
    ).fetchone()
    return _set(conn, row, least, auto) if row else None


def _set(conn: Conn, row: Mapping[str, Any], least: int, auto: bool) -> LabelSet:
    owner, name = str(row["owner"]), row["name"]
    found = conn.execute(
        _taught(auto) + _COUNTS, {"owner": owner, "set": name, "head": head_name(owner, name)}
    ).fetchall()
    by_label: dict[str | None, dict[str, int]] = {one: {} for one in (*row["labels"], None)}
    for each in found:
        if each["label"] in by_label:  # else it became one since the set was read
            by_label[each["label"]][each["source"]] = each["examples"]
    counts = [
        LabelCount(
            label=label,
            examples=sum(sources.values()),
            **{source: sources.get(source, 0) for source in SOURCES},
        )
        for label, sources in by_label.items()
    ]
    number = {one.label: one.examples - one.auto for one in counts}
    return LabelSet(
        **{name: row[name] for name in ("name", "labels", "created_by", "created_at")},
        changed_at=row["changed_at"],
        examples=sum(one.examples for one in counts),
        counts=counts,
        verdict=verdict(row["labels"], number, least),
        warning=_warning(conn, owner, name, row["labels"]),
    )


def _warning(conn: Conn, owner: str, name: str, labels: Sequence[str]) -> str | None:
    """That the version that holds was taught labels which have gone since."""
    row = conn.execute(
        "SELECT v.metrics -> 'labels' AS taught FROM model_activations a"
        " JOIN model_versions v USING (name, version) WHERE a.name = %s"
        " ORDER BY a.generation DESC LIMIT 1",
        (head_name(owner, name),),
    ).fetchone()
    gone = [f"`{one}`" for one in (row and row["taught"]) or () if one not in labels]
    if not gone:
        return None
    which = "which is no label" if len(gone) == 1 else "which are no labels"
    return (
        f"The version in use still gives {', '.join(gone)}, {which} of the set any more:"
        " train again."
    )


def put_label_set(conn: Conn, owner: str, name: str, labels: Sequence[str], by: str) -> bool:
    """Have a set with these labels and no others; whether it is new.

    Examples of a label that goes count no more, and do again should it come back. Raises
    LabelSetError where there is a set of the same name but for case.
    """
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (locks.LABEL_SETS,))
        alike = conn.execute(
            "SELECT name FROM label_sets WHERE owner = %(owner)s AND lower(name) = lower(%(name)s)"
            " ORDER BY name = %(name)s DESC LIMIT 1",
            {"owner": owner, "name": name},
        ).fetchone()
        if alike is not None and alike["name"] != name:
            raise LabelSetError(
                "set_exists",
                f"There is a set named {alike['name']} already: names of sets differ by more than"
                " upper and lower case.",
            )
        added = conn.execute(
            "INSERT INTO label_sets (owner, name, labels, created_by) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (owner, name, list(labels), by),
        ).rowcount
        if added:
            audit(conn, by, "labels.created", name, {"labels": list(labels)})
            return True
        known = hold_set(conn, owner, name)
        if list(labels) != known:
            conn.execute(
                "UPDATE label_sets SET labels = %s, changed_at = now()"
                " WHERE owner = %s AND name = %s",
                (list(labels), owner, name),
            )
            change = {
                "added": [one for one in labels if one not in known],
                "removed": [one for one in known if one not in labels],
            }
            audit(conn, by, "labels.changed", name, change)
    return False


def hold_set(conn: Conn, owner: str, name: str) -> list[str]:
    """The labels of a set, which nobody else changes until the end of the transaction.

    Raises LabelSetError if there is none.
    """
    row = conn.execute(
        "SELECT labels FROM label_sets WHERE owner = %s AND name = %s FOR UPDATE", (owner, name)
    ).fetchone()
    if row is None:
        raise LabelSetError("no_such_set", f"There is no set of labels named {name}.")
    return list(row["labels"])


def add_example(conn: Conn, owner: str, name: str, wish: Wish, by: str) -> Example | None:
    """Have a photo be an example; the same again is the same. None if the owner has no such photo.

    Raises LabelSetError.
    """
    with conn.transaction():
        check_labels(name, hold_set(conn, owner, name), [wish.label])
        known = conn.execute(
            "SELECT EXISTS (SELECT FROM rejections r WHERE r.photo_id = p.photo_id)"
            " AND NOT EXISTS (SELECT FROM outcomes o WHERE o.photo_id = p.photo_id) AS rejected"
            " FROM photos p WHERE photo_id = %s AND owner = %s",
            (wish.photo_id, owner),
        ).fetchone()
        if known is None:
            return None
        if known["rejected"]:
            raise LabelSetError(
                "photo_rejected", "The photo was rejected, so nothing can learn it."
            )
        before = _example(conn, owner, name, wish.photo_id)
        if before is None or before.label != wish.label:
            give(conn, (owner, name), [wish], "person", by)
            audit(conn, by, "example.added", wish.photo_id, {"set": name, "label": wish.label})
        return _example(conn, owner, name, wish.photo_id)


def check_labels(name: str, labels: Sequence[str], wanted: Sequence[str | None]) -> None:
    """Raises LabelSetError unless all of these are labels of the set, or None."""
    for label in wanted:
        if label is not None and label not in labels:
            known = ", ".join(labels[:20])
            raise LabelSetError("no_such_label", f"{name} has no label {label}: {known}.")


def give(conn: Conn, owned: tuple[str, str], wishes: Sequence[Wish], source: str, by: str) -> None:
    """Write down what was said of photos, in an owner's set, as the last word."""
    owner, name = owned
    ordered = sorted(wishes, key=lambda wish: wish.photo_id)
    conn.execute(
        """
        INSERT INTO given_examples (owner, set_name, photo_id, label, source, said_by)
        SELECT %(owner)s, %(set)s, photo_id, label, %(source)s, %(by)s
        FROM unnest(%(photos)s::uuid[], %(labels)s::text[]) AS given (photo_id, label)
        ON CONFLICT (owner, set_name, photo_id) DO UPDATE SET label = excluded.label,
          removed = false, source = excluded.source, said_by = excluded.said_by,
          said_at = excluded.said_at
        """,
        {
            **{"owner": owner, "set": name, "source": source, "by": by},
            "photos": [one.photo_id for one in ordered],
            "labels": [one.label for one in ordered],
        },
    )


def remove_example(conn: Conn, owner: str, name: str, photo_id: UUID, by: str) -> bool:
    """Have a photo be no example any more, whoever said so; False if it is none.

    A later answer of a review makes it one again. Raises LabelSetError.
    """
    with conn.transaction():
        hold_set(conn, owner, name)
        before = _example(conn, owner, name, str(photo_id))
        if before is None:
            return False
        give(conn, (owner, name), [Wish(str(photo_id), None)], "person", by)
        conn.execute(
            "UPDATE given_examples SET removed = true"
            " WHERE owner = %s AND set_name = %s AND photo_id = %s",
            (owner, name, photo_id),
        )
        detail = {"set": name, "label": before.label, "source": before.source}
        audit(conn, by, "example.removed", str(photo_id), detail)
    return True


def _example(conn: Conn, owner: str, name: str, photo_id: str) -> Example | None:
    found = read_examples(conn, owner, name, [photo_id])
    return found.get(photo_id)


def read_examples(conn: Conn, owner: str, name: str, photos: Sequence[str]) -> dict[str, Example]:
    """Those of these photos that are examples, by their ids."""
    given = {"owner": owner, "set": name, "photos": [UUID(one) for one in photos]}
    return {
        str(row["photo_id"]): _shown(row) for row in conn.execute(_EXAMPLES + _OF_PHOTOS, given)
    }


def all_examples(conn: Conn, owner: str, name: str, *, auto: bool = True) -> list[Example]:
    """What a model learns from, by photo; `source` tells what a machine said (`auto`, unless it
    shall be left out) from what people did."""
    rows = conn.execute(
        _taught(auto) + _ALL,
        {"owner": owner, "set": name, "head": head_name(owner, name)},
    )
    return [_shown(row) for row in rows]


def examples(
    conn: Conn, owner: str, name: str, label: str | None, after: Place | None, limit: int
) -> tuple[list[Example], Place | None] | None:
    """At most `limit` examples after a place, newest first, and the place to go on from; only
    those of a label, or of `none`. None if there is no such set."""
    known = "SELECT FROM label_sets WHERE owner = %s AND name = %s"
    if conn.execute(known, (owner, name)).fetchone() is None:
        return None
    rows = conn.execute(
        _EXAMPLES + _PAGE,
        {
            **{"owner": owner, "set": name, "limit": limit + 1},
            **{"any": label is None, "label": None if label == NONE else label},
            "at": after.created_at if after else None,
            "photo": after.photo_id if after else None,
        },
    ).fetchall()
    here = rows[:limit]
    more = len(rows) > limit
    place = Place(here[-1]["said_at"], here[-1]["photo_id"]) if more else None
    return [_shown(row) for row in here], place


_PAGE: LiteralString = """
SELECT * FROM examples
WHERE (%(any)s OR label IS NOT DISTINCT FROM %(label)s)
  AND (%(at)s::timestamptz IS NULL OR said_at < %(at)s
    OR (said_at = %(at)s AND photo_id > %(photo)s))
ORDER BY said_at DESC, photo_id LIMIT %(limit)s
"""


def _shown(row: Mapping[str, Any]) -> Example:
    photo_id = str(row["photo_id"])
    return Example(
        **{name: row[name] for name in ("label", "source", "said_by", "said_at")},
        photo_id=photo_id,
        thumbnail=f"/v1/photos/{photo_id}/thumbnail",
    )

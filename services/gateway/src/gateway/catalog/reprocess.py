"""Which photos are to be analysed again; contracts as in `read`.

A selection is looked at as of the moment at which it was asked for: photos and analyses that came
later do not count, so what the new analyses find does not change what is still to be done.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, Literal, LiteralString, Self
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from gateway.catalog.audit import audit
from gateway.catalog.imports import Import, begin_import
from gateway.catalog.model_shapes import StageName
from gateway.catalog.outbox import Outbox
from gateway.catalog.shapes import Outcome, Shape
from gateway.db import Conn
from gateway.texts import Name

AgainLane = Literal["batch", "learning"]

MOST_PHOTOS: Final = 1_000
"""That can be named one by one."""

_PAGE: Final = 500
_SAMPLE: Final = 10
_NO_PHOTO: Final = UUID(int=0)


class OtherModel(Shape):
    """Photos whose part of a stage was made by another model, or another engine, than this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: StageName
    model: Name = Field(
        description="a model version, or an engine's name", examples=["efficientnet-lite0@0123"]
    )


class Selection(Shape):
    """Which photos: those that fit everything that is set. Something has to be set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    all: bool = Field(False, description="every photo")
    failed: bool = Field(
        False, description="whose newest analysis was rejected, or lacks a stage's part"
    )
    missing: StageName | None = Field(None, description="analysed without this stage's part")
    other_than: OtherModel | None = None
    outcome: Outcome | None = None
    label: Name | None = Field(None, description="whose best label is this")
    batch: UUID | None = Field(None, description="of this import, duplicates too")
    after: AwareDatetime | None = Field(None, description="handed in at or after")
    before: AwareDatetime | None = Field(None, description="handed in before")
    photos: tuple[UUID, ...] | None = Field(None, max_length=MOST_PHOTOS)

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if not self.model_dump(exclude_defaults=True):
            raise ValueError('nothing is chosen; {"all": true} means every photo')
        return self

    def stored(self) -> dict[str, Any]:
        """As JSON that `Selection.model_validate` reads."""
        return self.model_dump(mode="json", exclude_defaults=True)


class ChosenPhoto(Shape):
    """A photo that would be analysed again."""

    photo_id: str
    file_name: str | None


class Preview(Shape):
    """What a selection means now: how many photos, and the first of them."""

    count: int
    sample: list[ChosenPhoto]


_SHOWN: LiteralString = """
LEFT JOIN LATERAL (
  SELECT o.outcome, o.label, o.parts FROM analyses a
  JOIN LATERAL (SELECT * FROM outcomes x WHERE x.analysis_id = a.analysis_id
    ORDER BY x.revision DESC LIMIT 1) o ON true
  WHERE a.photo_id = p.photo_id AND a.submitted_at < %(asked)s
  ORDER BY a.submitted_at DESC, a.analysis_id LIMIT 1) c ON true
"""
"""Joins photos `p` with the outcome `c` that was shown of them; see `read.CURRENT`."""

_OF_SHOWN: Final = frozenset({"missing", "other_than", "outcome", "label"})

# What is looked for among all outcomes comes before what is looked for in the one that is shown:
# the former leaves few photos, and needs no look at each.
_CONDITIONS: Final[dict[str, LiteralString]] = {
    "failed": """ AND p.photo_id IN (
      SELECT r.photo_id FROM rejections r WHERE r.owner = %(owner)s
      UNION ALL SELECT x.photo_id FROM outcomes x WHERE x.owner = %(owner)s AND x.partial)
    AND EXISTS (
      SELECT FROM (SELECT a.analysis_id FROM analyses a
        WHERE a.photo_id = p.photo_id AND a.submitted_at < %(asked)s AND a.cancelled_at IS NULL
        ORDER BY a.submitted_at DESC, a.analysis_id LIMIT 1) l
      WHERE EXISTS (SELECT FROM rejections r WHERE r.analysis_id = l.analysis_id)
        OR (SELECT x.partial FROM outcomes x WHERE x.analysis_id = l.analysis_id
            ORDER BY x.revision DESC LIMIT 1))""",
    "missing": """
    AND EXISTS (SELECT FROM outcomes x WHERE x.photo_id = p.photo_id AND x.partial)
    AND c.outcome IS NOT NULL AND NOT EXISTS (
      SELECT FROM jsonb_to_recordset(c.parts) AS u (stage text) WHERE u.stage = %(missing)s)""",
    "other_than": """ AND EXISTS (
      SELECT FROM jsonb_to_recordset(c.parts) AS u (stage text, engine text, model_version text)
      WHERE u.stage = %(stage)s AND %(model)s NOT IN (u.model_version, u.engine))""",
    "outcome": " AND c.outcome = %(outcome)s",
    "label": """
    AND EXISTS (SELECT FROM outcomes x WHERE x.photo_id = p.photo_id AND x.label = %(label)s)
    AND c.label = %(label)s""",
    "batch": """ AND p.photo_id IN (
      SELECT i.photo_id FROM batch_items i WHERE i.batch_id = %(batch)s)""",
    "after": " AND p.created_at >= %(after)s",
    "before": " AND p.created_at < %(before)s",
    "photos": " AND p.photo_id = ANY(%(photos)s)",
}


def _chosen(selection: Selection) -> LiteralString:
    given = selection.model_dump(exclude_defaults=True)
    query: LiteralString = " FROM photos p"
    if _OF_SHOWN & given.keys():
        query += _SHOWN
    query += " WHERE p.owner = %(owner)s AND p.created_at < %(asked)s"
    for name, condition in _CONDITIONS.items():
        if name in given:
            query += condition
    return query


def _arguments(selection: Selection, owner: str, asked: datetime) -> dict[str, Any]:
    other = selection.other_than
    return {
        **selection.model_dump(),
        "photos": list(selection.photos or ()),
        "stage": other and other.stage,
        "model": other and other.model,
        "owner": owner,
        "asked": asked,
    }


def preview(conn: Conn, owner: str, selection: Selection, asked: datetime) -> Preview:
    """How many photos a selection means; looks at every photo of the owner."""
    chosen, arguments = _chosen(selection), _arguments(selection, owner, asked)
    counted = conn.execute("SELECT count(*) AS count" + chosen, arguments).fetchone()
    rows = conn.execute(
        "SELECT p.photo_id::text, p.file_name" + chosen + " ORDER BY p.photo_id LIMIT %(most)s",
        {**arguments, "most": _SAMPLE},
    )
    sample = [ChosenPhoto.model_validate(row) for row in rows]
    return Preview(count=counted["count"] if counted else 0, sample=sample)


def chosen(conn: Conn, owner: str, selection: Selection, asked: datetime) -> Iterator[str]:
    """The ids of the photos that a selection means, in their order; a page of them at a time."""
    query = "SELECT p.photo_id" + _chosen(selection)
    query += " AND p.photo_id > %(place)s ORDER BY p.photo_id LIMIT %(page)s"
    arguments = {**_arguments(selection, owner, asked), "page": _PAGE}
    place = _NO_PHOTO
    while True:
        rows: Sequence[Any] = conn.execute(query, {**arguments, "place": place}).fetchall()
        yield from (str(row["photo_id"]) for row in rows)
        if len(rows) < _PAGE:
            return
        place = rows[-1]["photo_id"]


def chosen_of(conn: Conn, batch: Import) -> Iterator[str]:
    """`chosen`, as a batch of the kind `reprocess` was asked for."""
    selection = Selection.model_validate(batch.location["filter"])
    return chosen(conn, batch.owner, selection, batch.started_at)


def begin_reprocess(
    conn: Conn, outbox: Outbox, owner: str, selection: Selection, lane: AgainLane, by: str
) -> str:
    """Begin a batch that analyses the selected photos again; returns its id. One transaction."""
    with conn.transaction():
        batch_id = begin_import(
            conn,
            outbox,
            owner=owner,
            lane=lane,
            kind="reprocess",
            roots=(),
            location={"filter": selection.stored()},
        )
        audit(conn, by, "reprocess.begun", batch_id, {"filter": selection.stored(), "lane": lane})
    return batch_id

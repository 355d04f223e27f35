"""What a trainer's report says of examples, as people see them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args
from uuid import UUID

from gateway.catalog import labels
from gateway.catalog.label_shapes import Example, Source
from gateway.catalog.training_shapes import Doubt, Since, Suspicious
from gateway.db import Conn

_SOURCES: Final = get_args(Source)


class Told(NamedTuple):
    """A photo with all that a report says of it. `label` is as it was taught, if `source` is
    known; reports of before do not tell."""

    photo_id: str
    label: str | None
    source: Source | None
    doubts: Sequence[Doubt]


def told(said: object) -> list[Told]:
    """The photos of a report's list of suspicious examples, each once, in its order."""
    photos: dict[str, Told] = {}
    for one in said if isinstance(said, list) else ():
        photo_id = _photo_of(one)
        if photo_id is None:
            continue
        doubt = Doubt(kind=str(one["kind"]), reason=str(one["reason"]))
        before = photos.get(photo_id)
        doubts = [*(before.doubts if before else ()), doubt]
        photos[photo_id] = Told(photo_id, *_taught(one), doubts)
    return [*photos.values()]


def _photo_of(one: object) -> str | None:
    """None where this is no example with what is wrong with it."""
    if not isinstance(one, dict) or not {"photo_id", "kind", "reason"} <= one.keys():
        return None
    try:
        return str(UUID(one["photo_id"]))
    except (TypeError, ValueError, AttributeError):
        return None


def _taught(one: Mapping[str, Any]) -> tuple[str | None, Source | None]:
    label, source = one.get("label"), one.get("source")
    if "label" not in one or source not in _SOURCES:
        return None, None
    return label if isinstance(label, str) else None, source


def suspicious(conn: Conn, owner: str, model: str, photos: Iterable[Told]) -> list[Suspicious]:
    """These photos, with what is known of them, and what became of the examples since."""
    listed = [*photos]
    ids = [one.photo_id for one in listed]
    rows = conn.execute(
        "SELECT photo_id::text, file_name FROM photos WHERE owner = %s AND photo_id = ANY(%s)",
        (owner, [UUID(one) for one in ids]),
    )
    names = {row["photo_id"]: row["file_name"] for row in rows}
    examples = labels.read_examples(conn, owner, model, ids)
    return [_shown(one, names.get(one.photo_id), examples.get(one.photo_id)) for one in listed]


def _shown(one: Told, file_name: str | None, now: Example | None) -> Suspicious:
    label, source = one.label, one.source
    if source is None and now is not None:
        label, source = now.label, now.source
    since: Since | None = None
    if now is not None and now.label != label:
        since = "changed"
    elif now is None and source != "auto":  # of which people have said nothing
        since = "removed"
    return Suspicious(
        photo_id=one.photo_id,
        file_name=file_name,
        thumbnail=f"/v1/photos/{one.photo_id}/thumbnail",
        label=label,
        source=source,
        since=since,
        label_now=now.label if now is not None else None,
        doubts=list(one.doubts),
    )

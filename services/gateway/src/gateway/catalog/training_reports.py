"""What a trainer's report says of examples, as people see them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from gateway.catalog import labels
from gateway.catalog.training_shapes import Suspicious
from gateway.db import Conn


def is_told(one: object) -> bool:
    """Whether this is an example and what is wrong with it."""
    if not isinstance(one, dict) or not {"photo_id", "kind", "reason"} <= one.keys():
        return False
    try:
        UUID(one["photo_id"])
    except (TypeError, ValueError, AttributeError):
        return False
    return True


def suspicious(
    conn: Conn, owner: str, model: str, listed: Sequence[Mapping[str, Any]]
) -> list[Suspicious]:
    """Examples that `is_told` lets through, with what is known of their photos."""
    photos = [str(UUID(one["photo_id"])) for one in listed]
    rows = conn.execute(
        "SELECT photo_id::text, file_name FROM photos WHERE owner = %s AND photo_id = ANY(%s)",
        (owner, [UUID(one) for one in photos]),
    )
    names = {row["photo_id"]: row["file_name"] for row in rows}
    examples = labels.read_examples(conn, owner, model, photos)
    return [
        Suspicious(
            photo_id=photo,
            file_name=names.get(photo),
            thumbnail=f"/v1/photos/{photo}/thumbnail",
            label=examples[photo].label if photo in examples else None,
            kind=str(one["kind"]),
            reason=str(one["reason"]),
        )
        for photo, one in zip(photos, listed, strict=True)
    ]

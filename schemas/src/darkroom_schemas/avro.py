"""The Avro schemas of the events."""

import json
from functools import cache
from typing import Any, cast

from darkroom_schemas.catalogue import data_folder, load

AvroSchema = dict[str, Any]


@cache
def schema(name: str) -> AvroSchema:
    """The schema in `NAME.avsc`, as its JSON says.

    Raises FileNotFoundError for a name that does not exist.
    """
    text = (data_folder() / f"{name}.avsc").read_text(encoding="utf-8")
    return cast(AvroSchema, json.loads(text))


def schema_of(topic: str) -> AvroSchema:
    """The schema of a topic's values; raises UnknownTopicError or LookupError."""
    name = load()[topic].schema
    if name is None:
        raise LookupError(f"values of {topic} have no schema of ours")
    return schema(name)


def names() -> tuple[str, ...]:
    """Names of all schemas."""
    return tuple(sorted(path.stem for path in data_folder().glob("*.avsc")))

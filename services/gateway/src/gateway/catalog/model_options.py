"""What versions of a model may be, as the replicas of its stage say; contracts as in `results`.

Checked where a version is registered, since whoever misspelt something is still there then. The
services check it again: it is they who know.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from psycopg.types.json import Jsonb
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from darkroom_schemas.events import ModelReported
from darkroom_schemas.model_options import unknown
from gateway.catalog.models import RegistryError, Wanted
from gateway.db import Conn

UNCHECKED: Final = (
    "Engine and options could not be checked, since no replica of {name} has said yet which there"
    " are. The services check them when the version is activated."
)


def record_takes(conn: Conn, events: Iterable[ModelReported]) -> None:
    """The newest word of each stage holds; a replica that names no engines says nothing."""
    newest: dict[str, ModelReported] = {}
    for event in sorted(events, key=lambda one: one["reported_at"]):
        if event["engines"]:
            newest[event["name"]] = event
    with conn.cursor() as cursor:
        cursor.executemany(
            _TAKES,
            [
                {**newest[name], **{field: Jsonb(newest[name][field]) for field in _SAID}}
                for name in sorted(newest)
            ],
        )


_SAID: Final[tuple[Literal["engines", "options"], ...]] = ("engines", "options")

# Replicas repeat themselves every few seconds: a row is written only where something is new.
_TAKES: Final = """
INSERT INTO model_takes (name, engines, options, reported_at)
VALUES (%(name)s, %(engines)s, %(options)s, %(reported_at)s)
ON CONFLICT (name) DO UPDATE SET engines = excluded.engines, options = excluded.options,
  reported_at = excluded.reported_at
WHERE excluded.reported_at > model_takes.reported_at
  AND (excluded.engines, excluded.options)
    IS DISTINCT FROM (model_takes.engines, model_takes.options)
"""


def check(conn: Conn, wanted: Wanted) -> str | None:
    """Why a version's engine and options could not be checked; None: they are fine.

    Raises RegistryError that names what there is.
    """
    row = conn.execute(
        "SELECT engines, options FROM model_takes WHERE name = %s", (wanted.name,)
    ).fetchone()
    if row is None:
        return UNCHECKED.format(name=wanted.name)
    if wanted.engine not in row["engines"]:
        raise _unknown("engine", wanted.engine, row["engines"])
    for name, value in wanted.options.items():
        if name not in row["options"]:
            raise _unknown("option", name, row["options"])
        if (problem := problem_of(row["options"][name], value)) is not None:
            raise RegistryError("bad_option", f"{name}: {problem}")
        if (problem := not_among(value, [one.path for one in wanted.files])) is not None:
            raise RegistryError("bad_option", f"{name}: {problem}")
    return None


def not_among(value: str, paths: Iterable[str]) -> str | None:
    """What is wrong with a value that names (`./…`) one of a version's files or a folder of them;
    None: nothing, or it names none."""
    if not value.startswith("./"):
        return None
    place = PurePosixPath(value)
    if ".." in place.parts:
        return f"{value} lies outside of the version's files"
    if not any(PurePosixPath(path).is_relative_to(place) for path in paths):
        return f"{value} is no file of this version, and no folder with one"
    return None


def _unknown(kind: Literal["engine", "option"], name: str, known: Iterable[str]) -> RegistryError:
    there = sorted(known)
    return RegistryError(f"unknown_{kind}", unknown(kind, name, there), known=there)


def problem_of(schema: str, value: str) -> str | None:
    """What is wrong with an option's value by its JSON Schema; None: nothing that is seen here.

    A value is read as services read their settings: text as numbers, lists as JSON. A schema, or
    a part of one, that is not understood here is left to the service.
    """
    try:
        said: Mapping[str, Any] = json.loads(schema)
        adapter = TypeAdapter[Any](_type_of(said))
        by_json, about = said.get("type") in ("array", "object"), said.get("description")
    except (ValueError, TypeError, AttributeError, PydanticUserError, SchemaError):
        return None
    try:
        adapter.validate_python(json.loads(value) if by_json else value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = ".".join(map(str, first["loc"])) + ": " * bool(first["loc"]) + first["msg"]
    except ValueError as error:
        problem = f"{value[:50]!r} has to be JSON: {error}"
    else:
        return None
    return f"{problem} ({about})" if about else problem


_KINDS: Final[Mapping[str, Any]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "object": dict[str, Any],
}

_LIMITS: Final = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "pattern": "pattern",
}


def _type_of(schema: Mapping[str, Any]) -> Any:
    """Pydantic's type for a JSON Schema; Any for a kind that is not known."""
    kind: Any = schema.get("type")
    if kind == "string" and "enum" in schema:
        return Literal[tuple(schema["enum"])]
    limits = {_LIMITS[name]: value for name, value in schema.items() if name in _LIMITS}
    if kind == "array":
        return Annotated[list[_type_of(schema.get("items", {}))], Field(**limits)]  # type: ignore[misc] # made at run time
    return Annotated[_KINDS[kind], Field(**limits)] if kind in _KINDS else Any

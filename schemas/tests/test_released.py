"""Nothing that was released is broken: every version's programs can read every other's records.

What the registry's FULL_TRANSITIVE would refuse is refused here first, and a bit more: nothing is
removed, and no topic's keys go elsewhere.
"""

import copy
import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import avro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from darkroom_schemas import avro as schemas

SCHEMAS: Final = Path(__file__).parents[1]
RELEASED: Final = sorted((SCHEMAS / "released").glob("*.json"))
AvroSchema = dict[str, Any]
Topics = dict[str, Any]


def released(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def broken(before: AvroSchema, after: AvroSchema) -> list[str]:
    """Why programs of the one could not take records of the other, in either direction."""
    old, new = (avro.schema.parse(json.dumps(each)) for each in (before, after))
    reasons = []
    for reader, writer, who in ((new, old, "new reads old"), (old, new, "old reads new")):
        found = _checker().get_compatibility(reader, writer)
        if found.compatibility is not SchemaCompatibilityType.compatible:
            reasons.append(f"{who}: {', '.join(sorted(found.locations))}")
    return reasons + [f"{field} is gone" for field in sorted(_fields(before) - _fields(after))]


def _checker() -> ReaderWriterCompatibilityChecker:
    return ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]


def _fields(schema: Any, place: str = "") -> set[str]:
    """All fields, also of records within records, by their paths."""
    if isinstance(schema, list):
        return {path for each in schema for path in _fields(each, place)}
    if not isinstance(schema, dict):
        return set()
    found: set[str] = set()
    for field in schema.get("fields", ()):
        path = f"{place}/{field['name']}"
        found |= {path, *_fields(field["type"], path)}
    return found | _fields(schema.get("items"), place) | _fields(schema.get("values"), place)


def moved(before: Topics, after: Topics) -> list[str]:
    """Topics that are gone, or whose keys, values or places are others."""
    return [
        f"{name}: {after.get(name, 'gone')} instead of {topic}"
        for name, topic in before.items()
        if after.get(name) != topic
    ]


def topics_now() -> Topics:
    found: Topics = runpy.run_path(str(SCHEMAS / "release.py"))["promised"]()["topics"]
    return found


def test_there_is_a_release_to_be_held_to() -> None:
    assert RELEASED


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.stem)
def test_every_schema_is_fully_compatible_with_each_release(file: Path) -> None:
    found = {
        name: reasons
        for name, schema in released(file)["schemas"].items()
        if (reasons := broken(schema, schemas.schema(name)))
    }
    assert found == {}


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.stem)
def test_every_topic_is_where_and_how_each_release_knew_it(file: Path) -> None:
    assert moved(released(file)["topics"], topics_now()) == []


# -- what would be found -------------------------------------------------------------------------


def example() -> AvroSchema:
    return schemas.schema("photo.objects-detected")


def _changed(change: Callable[[list[Any]], object]) -> AvroSchema:
    schema = copy.deepcopy(example())
    change(schema["fields"])
    return schema


def test_a_new_field_with_a_default_breaks_nothing() -> None:
    added = {"name": "mood", "type": ["null", "string"], "default": None, "doc": "x"}
    assert broken(example(), _changed(lambda fields: fields.append(added))) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda fields: fields.append({"name": "mood", "type": "string"}), id="needed"),
        pytest.param(lambda fields: fields.pop(), id="removed"),
        pytest.param(lambda fields: fields[0].update(name="possessor"), id="renamed"),
        pytest.param(lambda fields: fields[0].update(type="long"), id="retyped"),
    ],
)
def test_a_change_that_would_break_a_reader_is_found(change: Callable[[list[Any]], object]) -> None:
    assert broken(example(), _changed(change))


def test_a_field_with_a_default_is_not_removed_either() -> None:
    """Avro would allow it; whoever reads it would find nothing any more."""
    optional = {"name": "mood", "type": ["null", "string"], "default": None}
    assert broken(_changed(lambda fields: fields.append(optional)), example()) == ["/mood is gone"]


def test_a_field_within_a_record_is_held_to_its_release_too() -> None:
    def outer(inner: dict[str, Any]) -> AvroSchema:
        record = {"type": "record", "name": "Inner", "fields": [inner]}
        many = {"name": "many", "type": {"type": "array", "items": record}}
        return {"type": "record", "name": "Outer", "fields": [many]}

    before = outer({"name": "a", "type": "int"})
    assert broken(before, outer({"name": "a", "type": "string"}))
    assert "/many/a is gone" in broken(before, outer({"name": "b", "type": "int", "default": 0}))


@pytest.mark.parametrize(
    "change",
    [
        {"key": "owner"},
        {"partitions": 8},
        {"group": None},
        {"schema": "ops.load"},
        {"compacted": True},
    ],
)
def test_a_topic_that_moved_is_found(change: dict[str, Any]) -> None:
    before = topics_now()
    name = "photo.rejected.v1"
    assert moved(before, {**before, name: {**before[name], **change}})
    assert moved(before, {each: topic for each, topic in before.items() if each != name})
    assert moved(before, {**before, "photo.dreamt.v1": before[name]}) == []


def test_a_release_is_never_written_anew_with_other_schemas(tmp_path: Path) -> None:
    shutil.copy(SCHEMAS / "release.py", tmp_path)
    version = RELEASED[-1].stem
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / f"{version}.json").write_text("{}")
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{version}"')
    command = [sys.executable, str(tmp_path / "release.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "raise the version" in done.stderr
    assert (tmp_path / "released" / f"{version}.json").read_text() == "{}"

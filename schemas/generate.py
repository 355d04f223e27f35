"""Write src/darkroom_schemas/{events,names}.py from the .avsc files and topics.yaml.

    python schemas/generate.py [--check]

`--check` writes nothing and exits with 1 if a file is not what it would write.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from darkroom_schemas import avro, catalogue

_PRIMITIVE: Final = {
    "string": "str",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "boolean": "bool",
    "null": "None",
}
_NOTE: Final = "Made by schemas/generate.py; change the schemas instead."


def python_type(avro_type: Any) -> str:
    """The Python type of a decoded Avro value."""
    if isinstance(avro_type, list):
        return " | ".join(sorted((python_type(one) for one in avro_type), key="None".__eq__))
    if isinstance(avro_type, str):
        return _PRIMITIVE.get(avro_type, avro_type.rpartition(".")[2])
    if avro_type.get("logicalType") == "timestamp-millis":
        return "datetime"
    if avro_type["type"] == "array":
        return f"list[{python_type(avro_type['items'])}]"
    if avro_type["type"] == "map":
        return f"dict[str, {python_type(avro_type['values'])}]"
    return str(avro_type["name"])


def records(avro_type: Any) -> Iterator[Mapping[str, Any]]:
    """The records in a type, inner ones first."""
    if isinstance(avro_type, list):
        for one in avro_type:
            yield from records(one)
    elif isinstance(avro_type, dict):
        yield from records(avro_type.get("items"))
        yield from records(avro_type.get("values"))
        for field in avro_type.get("fields", []):
            yield from records(field["type"])
        if avro_type.get("type") == "record":
            yield avro_type


def typed_dict(record: Mapping[str, Any]) -> str:
    """Source of the TypedDict of one record."""
    lines = [f"class {record['name']}(TypedDict):"]
    if "doc" in record:
        lines += [f'    """{record["doc"]}"""', ""]
    for field in record["fields"]:
        lines.append(f"    {field['name']}: {python_type(field['type'])}")
        lines.append(f'    """{field["doc"]}"""')
    return "\n".join(lines)


def events() -> str:
    """Source of events.py."""
    found = {r["name"]: r for name in avro.names() for r in records(avro.schema(name))}
    head = f'"""The events as typed dictionaries. {_NOTE}"""\n\n# ruff: noqa: E501\n\n'
    head += "from datetime import datetime\nfrom typing import TypedDict\n"
    return "\n\n\n".join([head.rstrip("\n"), *(typed_dict(r) for r in found.values())]) + "\n"


def constants(topics: catalogue.Catalogue) -> Iterator[str]:
    """Lines that name each topic; topics by lane are mappings from the lane."""
    by_lane: dict[str, dict[str, str]] = {}
    for topic in topics.with_schema():
        if topic.lane is None:
            yield f'{constant(topic.name)}: Final = "{topic.name}"'
        else:
            stem = constant(topic.name.replace(f".{topic.lane}.", "."))
            by_lane.setdefault(stem, {})[topic.lane] = topic.name
    for stem, lanes in by_lane.items():
        yield f"{stem}: Final = {{"
        yield from (f'    "{lane}": "{name}",' for lane, name in lanes.items())
        yield "}"


def constant(topic: str) -> str:
    """`photo.text-read.v1` → `PHOTO_TEXT_READ`."""
    return topic.rpartition(".")[0].replace(".", "_").replace("-", "_").upper()


def names() -> str:
    """Source of names.py."""
    topics = catalogue.load()
    lanes = ", ".join(f'"{lane}"' for lane in topics.lanes)
    head = f'"""The names of the topics. {_NOTE}"""\n\nfrom typing import Final\n\n'
    return head + f"LANES: Final = ({lanes})\n" + "\n".join(constants(topics)) + "\n"


def main() -> int:
    """Write or check both files."""
    folder = Path(__file__).parent / "src" / "darkroom_schemas"
    stale = []
    for file, text in ((folder / "events.py", events()), (folder / "names.py", names())):
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(file.name)
        if "--check" not in sys.argv[1:]:
            file.write_text(text, encoding="utf-8")
    sys.stdout.write(f"changed: {', '.join(stale) or 'nothing'}\n")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())

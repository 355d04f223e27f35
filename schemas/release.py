"""Writes `released/VERSION.json`: the topics and schemas that this version promises for ever.

Run it when a version is released. What is written once is never changed: every later version's
schemas are held to all of them (`tests/test_released.py`).
"""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from darkroom_schemas import avro, catalogue

_HERE = Path(__file__).parent


def promised() -> dict[str, Any]:
    """What whoever writes or reads topics relies on."""
    topics = {
        topic.name: {
            "schema": topic.schema,
            "key": topic.key,
            "partitions": topic.partitions,
            "group": topic.group,
            "compacted": topic.retention_ms is None,
        }
        for topic in catalogue.load(())
    }
    return {"topics": topics, "schemas": {name: avro.schema(name) for name in avro.names()}}


def text_of(promise: dict[str, Any]) -> str:
    """A line for each topic and schema, so that a difference can be read."""
    parts = []
    for kind, entries in promise.items():
        lines = ",\n".join(f'  "{name}": {json.dumps(value)}' for name, value in entries.items())
        parts.append(f'"{kind}": {{\n{lines}\n}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> int:
    """Write the file; 1 if this version has another one already."""
    project = tomllib.loads((_HERE / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["project"]["version"]
    file = _HERE / "released" / f"{version}.json"
    text = text_of(promised())
    if file.exists() and file.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{version} is released, with other schemas: raise the version first\n")
        return 1
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{file.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

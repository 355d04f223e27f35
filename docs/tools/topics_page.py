"""`docs/reference/topics.md`: every topic and its event, out of topics.yaml and the schemas."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from docs.tools.markdown import cell, code, page, table

from darkroom_schemas import avro, catalogue
from darkroom_schemas.catalogue import Topic, data_folder

_DAY_MS: Final = 86_400_000

_HEAD: Final = """\
# Topics and events

Every topic that there is, as [`schemas/topics.yaml`](../../schemas/topics.yaml) declares it, and
what its records hold. Programs can read the same as [AsyncAPI](asyncapi.yaml).
[How records are framed, keyed and headed](../../schemas/README.md).

A topic's prefix (`DARKROOM_TOPIC_PREFIX`) goes before all of these. Topics of one group have as
many partitions as each other. `others` are programs that are no part of Darkroom.

This page is generated: `python -m docs.tools.generate`.
"""


def topics_page() -> str:
    """The page, as it should be."""
    topics = catalogue.load()
    return page(
        _HEAD,
        "## Topics of events",
        f"`LANE` is each of {', '.join(map(code, topics.lanes))}.",
        _overview(topics.with_schema()),
        "## Topics of the runtime",
        "Their values are those of other topics, byte for byte, or Faust's; what is added is in "
        "[headers](../../schemas/README.md#records-with-headers-of-the-runtimes).",
        _overview([topic for topic in topics if topic.schema is None]),
        f"`TIER` is each of {', '.join(map(code, topics.tiers))}, or of `DARKROOM_RETRY_TIERS`; "
        "`CLASS` is `high`, or `bulk` for all other lanes.",
        "## Events",
        *(_event(name, topics.with_schema()) for name in avro.names()),
    )


def _overview(topics: Iterable[Topic]) -> str:
    head = ("topic", "key", "partitions", "group", "kept", "written by", "read by")
    return table(head, dict.fromkeys(map(_row, topics)))


def _row(topic: Topic) -> tuple[str, ...]:
    """Topics that differ by lane, tier or class alone have the same row."""
    name = code(_pattern(topic))
    if topic.schema is not None:
        name = f"[{name}](#{_anchor(topic.schema)})"
    return (
        name,
        cell(topic.key),
        str(topic.partitions),
        topic.group or "",
        kept(topic),
        ", ".join(topic.producers),
        ", ".join(topic.consumers),
    )


def _pattern(topic: Topic) -> str:
    if topic.lane is not None:
        return topic.name.replace(f".{topic.lane}.", ".LANE.")
    return re.sub(r"\.retry-\w+\.\w+$", ".retry-TIER.CLASS", topic.name)


def kept(topic: Topic) -> str:
    """For how long the topic keeps a record."""
    if topic.retention_ms is None:
        return "the last of each key"
    return f"{topic.retention_ms // _DAY_MS} d"


def _anchor(schema: str) -> str:
    """As the site names the heading of an event."""
    return schema.replace(".", "")


def _event(name: str, topics: Sequence[Topic]) -> str:
    schema = avro.schema(name)
    used = ", ".join(dict.fromkeys(code(_pattern(one)) for one in topics if one.schema == name))
    example = json.loads((data_folder() / "examples" / f"{name}.json").read_text(encoding="utf-8"))
    shown = json.dumps(_shortened(example), indent=2, ensure_ascii=False)
    return page(
        f"### {name}",
        f"{schema.get('doc', '')} In {used}.",
        _fields(schema),
        *(f"**{inner['name']}**\n\n{_fields(inner)}" for inner in _inner(schema)),
        "An example, in Avro's JSON encoding:",
        f"```json\n{shown}\n```",
    )


def _shortened(value: Any) -> Any:
    """Long lists of an example cut: vectors are read by nobody."""
    if isinstance(value, dict):
        return {key: _shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shortened(one) for one in value[:8]]
    return value


def _fields(record: Mapping[str, Any]) -> str:
    rows = (
        (code(field["name"]), type_name(field["type"]), _default(field), cell(field["doc"]))
        for field in record["fields"]
    )
    return table(("field", "type", "default", "meaning"), rows)


def _default(field: Mapping[str, Any]) -> str:
    return code(json.dumps(field["default"])) if "default" in field else ""


def type_name(avro_type: Any) -> str:
    """An Avro type in a few words."""
    if isinstance(avro_type, list):
        return " or ".join(type_name(one) for one in reversed(avro_type))
    if isinstance(avro_type, str):
        return avro_type.rpartition(".")[2]
    if "logicalType" in avro_type:
        return str(avro_type["logicalType"])
    if avro_type["type"] == "array":
        return f"list of {type_name(avro_type['items'])}"
    if avro_type["type"] == "map":
        return f"map of {type_name(avro_type['values'])}"
    return str(avro_type["name"])


def _inner(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Records inside of one, each once."""
    found: dict[str, Mapping[str, Any]] = {}

    def look(avro_type: Any) -> None:
        if isinstance(avro_type, list):
            for one in avro_type:
                look(one)
        elif isinstance(avro_type, dict):
            look(avro_type.get("items"))
            look(avro_type.get("values"))
            if avro_type.get("type") == "record":
                found.setdefault(avro_type["name"], avro_type)
            for field in avro_type.get("fields", ()):
                look(field["type"])

    for field in schema["fields"]:
        look(field["type"])
    return list(found.values())

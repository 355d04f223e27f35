"""`docs/reference/asyncapi.yaml`: all topics as AsyncAPI 3, for programs."""

from importlib.metadata import version
from typing import Any, Final

import yaml

from darkroom_schemas import avro, catalogue
from darkroom_schemas.catalogue import Topic

_AVRO: Final = "application/vnd.apache.avro+json;version=1.9.0"
_NOTE: Final = "# Made by `python -m docs.tools.generate`; change schemas/ instead.\n"


def asyncapi() -> dict[str, Any]:
    """The document. Each service is a party of its own, so operations name it."""
    topics = catalogue.load()
    described = topics.with_schema()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Darkroom",
            "version": version("darkroom-schemas"),
            "description": "Events of Darkroom: Avro in the Confluent wire format, CloudEvents 1.0 "
            "in binary mode, keys partitioned with murmur2.",
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": "application/vnd.confluent.avro",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "variables": {"bootstrap": {"default": "127.0.0.1:9092"}},
            }
        },
        "channels": {topic.name: _channel(topic) for topic in described},
        "operations": dict(_operations(described)),
        "components": {"messages": {name: _message(name) for name in avro.names()}},
    }


def asyncapi_text() -> str:
    """The same as YAML."""
    return _NOTE + yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=100)


def _channel(topic: Topic) -> dict[str, Any]:
    settings = topic.config()
    configuration: dict[str, Any] = {"cleanup.policy": [settings["cleanup.policy"]]}
    if topic.retention_ms is not None:
        configuration["retention.ms"] = topic.retention_ms
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}.",
        "messages": {"event": {"$ref": f"#/components/messages/{topic.schema}"}},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": configuration,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations(topics: tuple[Topic, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Who writes and reads what, `others` being programs that are no part of Darkroom."""
    return [
        (f"{party}.{action}.{topic.name}", _operation(action, topic))
        for topic in topics
        for action, parties in (("send", topic.producers), ("receive", topic.consumers))
        for party in parties
    ]


def _operation(action: str, topic: Topic) -> dict[str, Any]:
    channel = f"#/channels/{topic.name}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/event"}],
    }


def _message(name: str) -> dict[str, Any]:
    schema = avro.schema(name)
    return {
        "name": name,
        "summary": schema.get("doc", ""),
        "payload": {"schemaFormat": _AVRO, "schema": schema},
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
    }

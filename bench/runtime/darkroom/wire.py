"""Talking to the broker from outside the runtime: the load, the counting, the bare loop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.runtime import workload

from darkroom_schemas.avro import schema_of
from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED
from streamkit import Codec, Emit, SchemaIds


def codec(env: Mapping[str, str]) -> Codec:
    """As programs are told by the environment; ids are the same under every prefix."""
    ids = SchemaIds(env["DARKROOM_REGISTRY"], Path(env["DARKROOM_CACHE"]))
    return Codec(ids, schema_of)


def producer_config(kafka: str) -> dict[str, Any]:
    """As durable as the runtime's, and with its partitioner."""
    return {
        "bootstrap.servers": kafka,
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 2,
        "queue.buffering.max.messages": 200_000,
        "log_level": 3,
    }


def consumer_config(kafka: str, group: str) -> dict[str, Any]:
    """A member that commits by hand."""
    return {
        "bootstrap.servers": kafka,
        "group.id": group,
        "group.protocol": "consumer",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "allow.auto.create.topics": False,
    }


def asked(request: workload.Event) -> Emit:
    """The event that asks for a photo's analysis, on the topic of its lane."""
    topic = PHOTO_ANALYSIS_REQUESTED[request["lane"]]
    return Emit(topic, request["photo_id"], request, request["analysis_id"])


def answered(request: Mapping[str, Any], stage: str) -> Emit:
    """The event of an empty part."""
    made = workload.part(request, stage)
    return Emit(workload.PART_TOPICS[stage], made["photo_id"], made, workload.part_id(made))

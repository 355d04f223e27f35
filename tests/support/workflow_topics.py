"""A workflow's topics and schemas on a real broker and a real registry."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from streamkit.workflow import Workflow


def apply(
    workflow: Workflow,
    schema_of: Callable[[str], Mapping[str, Any]],
    *,
    kafka: str,
    registry: str,
    prefix: str,
) -> None:
    """Make all topics of a workflow, and register the schemas of its events."""
    admin = AdminClient({"bootstrap.servers": kafka})
    wanted = [
        NewTopic(prefix + topic.name, topic.partitions, 1, config=dict(topic.config()))
        for topic in workflow.all_topics()
    ]
    for made in admin.create_topics(wanted).values():
        made.result(timeout=30)
    with httpx.Client(base_url=registry, timeout=30) as http:
        for topic in workflow.events():
            body = {"schema": json.dumps(schema_of(topic.name))}
            subject = f"{prefix}{topic.name}-value"
            http.post(f"/subjects/{subject}/versions", json=body).raise_for_status()

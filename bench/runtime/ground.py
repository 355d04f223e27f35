"""What all systems stand on: one Kafka, one Redis, the topics of a run."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
from bench.runtime.registry import registry
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its __init__ re-exports
    AdminClient,
    NewTopic,
)

from darkroom_cli.stack import Progress, Stack
from darkroom_schemas import catalogue
from darkroom_schemas.catalogue import Topic
from streamkit.workflow import Workflow

_TIMEOUT_S: Final = 30.0
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Ground:
    """A broker, a Redis and a registry of our own, on loopback ports; a folder for files."""

    stack: Stack
    registry: str
    folder: Path

    @property
    def env(self) -> Mapping[str, str]:
        """Where programs find it all, as every Darkroom program is told."""
        places = self.stack.addresses
        return {
            "DARKROOM_KAFKA": places["kafka"],
            "DARKROOM_REDIS": places["redis"],
            "DARKROOM_REGISTRY": self.registry,
            "DARKROOM_CACHE": str(self.folder / "schemas"),
            "DARKROOM_LOG_LEVEL": "warning",
        }

    @property
    def logs(self) -> Path:
        """Folder of the programs' logs."""
        return self.stack.data.logs

    def empty_redis(self) -> Any:
        """Forget all that is in Redis; the client. It may use what memory it needs and evicts
        nothing: a peer must not lose work to the limits of a cache."""
        client: Any = redis.Redis.from_url(self.stack.addresses["redis"])
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "0")
        client.flushall()
        return client

    @contextmanager
    def topics(self, wanted: Sequence[Topic], prefix: str) -> Iterator[None]:
        """Make these topics, as they are declared, for as long as the context lasts.

        Their records bear the time at which the broker appended them.
        """
        admin = AdminClient({"bootstrap.servers": self.stack.addresses["kafka"], "log_level": 0})
        new = [
            NewTopic(
                prefix + topic.name,
                num_partitions=topic.partitions,
                replication_factor=1,
                config={**topic.config(), "message.timestamp.type": "LogAppendTime"},
            )
            for topic in wanted
        ]
        for future in admin.create_topics(new).values():
            future.result(_TIMEOUT_S)
        try:
            yield
        finally:
            for future in admin.delete_topics([one.topic for one in new]).values():
                future.result(_TIMEOUT_S)


def of_join(workflow: Workflow) -> Sequence[Topic]:
    """The changelogs of a workflow's joins, and their dead letters: not in the catalogue."""
    joins = {join.name for join in workflow.joins()}
    return [
        Topic(
            name=topic.name,
            schema=None,
            key=topic.key,
            partitions=topic.partitions,
            group=topic.group,
            retention_ms=None if topic.kind == "changelog" else _DAY_MS,
            producers=topic.producers,
            consumers=topic.consumers,
        )
        for topic in workflow.all_topics()
        if topic.kind != "events" and joins & set(topic.producers)
    ]


def declared(names: Sequence[str]) -> Sequence[Topic]:
    """Topics as the catalogue has them. Raises UnknownTopicError."""
    known = catalogue.load()
    return [known[name] for name in names]


@contextmanager
def prepared(progress: Progress) -> Iterator[Ground]:
    """Start broker and Redis in a fresh folder; stop them and remove it at the end."""
    with ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="darkroom-bench-"))
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        stack = Stack(folder / "stack", services=(), infrastructure=("kafka", "redis"))
        stack.start(progress=progress)
        undo.callback(stack.stop)
        yield Ground(stack, undo.enter_context(registry()), folder)

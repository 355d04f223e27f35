"""An installation that has nothing but the topics of models, whose processes the test makes."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from darkroom_cli.contracts import Subjects, Topics
from darkroom_schemas import avro, catalogue, names
from infrastructure import Infrastructure
from streamkit import Codec, Emit, Publisher, SchemaIds
from topic_reader import TopicReader

Example = Callable[..., dict[str, Any]]

TOPICS: Final = (names.MODEL_ACTIVATED, names.MODEL_REPORTED)


class ModelTopics:
    """Topics and schemas under a prefix of their own, and somebody who activates."""

    def __init__(self, infrastructure: Infrastructure, folder: Path, example: Example) -> None:
        self._infrastructure = infrastructure
        self._folder = folder
        self._example = example
        self._prefix = f"t{uuid4().hex[:8]}."
        self.ends = ExitStack()
        only = replace(catalogue.load(), topics={name: catalogue.load()[name] for name in TOPICS})
        assert all(one.good for one in Topics(infrastructure.kafka, only, self._prefix).apply())
        subjects = Subjects(infrastructure.registry, only, self._prefix)
        assert all(one.good for one in subjects.apply())
        ids = SchemaIds(infrastructure.registry, folder / "ids")
        codec = Codec(ids, avro.schema_of, self._prefix)
        self.publisher = Publisher(
            infrastructure.kafka, source="gateway", codec=codec, prefix=self._prefix
        )
        self.ends.callback(self.publisher.close)

    @property
    def places(self) -> dict[str, Any]:
        """Settings of a process of this installation."""
        return {
            "kafka": self._infrastructure.kafka,
            "registry": self._infrastructure.registry,
            "topic_prefix": self._prefix,
            "cache": self._folder / "ids",
            "models_cache": self._folder / "models",
        }

    def say(self, name: str, **activation: Any) -> None:
        """Publish an activation of a model."""
        value = self._example(names.MODEL_ACTIVATED, name=name, **activation)
        self.publisher.publish([Emit(names.MODEL_ACTIVATED, name, value, str(uuid4()))])

    def reports(self) -> list[dict[str, Any]]:
        """All that processes have said."""
        reader = TopicReader(
            self._infrastructure.kafka,
            self._infrastructure.registry,
            self._folder / "ids",
            self._prefix,
        )
        return [value for _, value in reader.events(names.MODEL_REPORTED)]

    def close(self) -> None:
        """End the processes, the last one first."""
        self.ends.close()

"""The edges of the architecture: who gives what to whom, as `topics.yaml` declares it."""

from typing import Final, NamedTuple

from darkroom_schemas import catalogue
from darkroom_schemas.catalogue import Topic

OTHERS: Final = "others"
"""Who is none of our services: whoever writes or reads topics himself, or replays dead letters."""


class Edge(NamedTuple):
    """A way that records take. `topic` stands for all lanes, and for all tiers and classes of a
    service's retries; `consumer` is empty where nobody of ours reads."""

    producer: str
    topic: str
    consumer: str

    def __str__(self) -> str:
        return f"{self.producer} → {self.topic} → {self.consumer or 'nobody'}"


def edges() -> tuple[Edge, ...]:
    """All of them, in the order of `topics.yaml`; changelogs, which only their own table reads, are
    none."""
    found = {
        Edge(producer, family(topic), consumer): None
        for topic in catalogue.load()
        if not topic.name.endswith("-changelog")
        for producer in topic.producers
        for consumer in topic.consumers or ("",)
    }
    return tuple(found)


def family(topic: Topic) -> str:
    """What an edge calls this topic: with `{lane}`, `{tier}` and `{class}` left open."""
    if topic.lane is not None:
        return topic.name.replace(f".{topic.lane}.", ".{lane}.")
    head, found, _ = topic.name.partition(".retry-")
    return f"{head}.retry-{{tier}}.{{class}}" if found else topic.name

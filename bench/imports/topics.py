"""Records of topics, read to their present end."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from darkroom_schemas.avro import schema_of
from streamkit import Codec, SchemaIds

_TIMEOUT_S: Final = 30.0


def codec_of(env: Mapping[str, str]) -> Codec:
    """As programs are told by the environment."""
    ids = SchemaIds(env["DARKROOM_REGISTRY"], Path(env["DARKROOM_CACHE"]))
    return Codec(ids, schema_of)


def events(env: Mapping[str, str], topic: str) -> Iterator[Mapping[str, Any]]:
    """All events of a topic. Raises TimeoutError if the broker does not answer."""
    codec = codec_of(env)
    reader: Any = Consumer(
        {
            "bootstrap.servers": env["DARKROOM_KAFKA"],
            "group.id": "bench",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "log_level": 3,
        }
    )
    try:
        left = _ends(reader, topic)
        reader.assign([TopicPartition(topic, number, 0) for number in left])
        while any(left.values()):
            read = reader.consume(1_000, _TIMEOUT_S)
            if not read:
                raise TimeoutError(f"the broker gives no more of {topic}")
            for message in read:
                if message.error() is not None:
                    raise TimeoutError(f"{topic}: {message.error()}")
                left[message.partition()] -= 1
                yield codec.decode(topic, message.value())
    finally:
        reader.close()


def _ends(reader: Any, topic: str) -> dict[int, int]:
    """Records of each partition; nothing was deleted or cleaned there yet."""
    partitions = reader.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
    ends = {}
    for number in partitions:
        low, high = reader.get_watermark_offsets(TopicPartition(topic, number), timeout=_TIMEOUT_S)
        ends[number] = high - low
    return ends

"""Records of topics, read to their present end."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from darkroom_schemas.avro import schema_of
from streamkit import Codec, SchemaIds

_TIMEOUT_S: Final = 60.0
_LOOK_S: Final = 0.2
"""`consume` waits so long for its thousand, though there are fewer."""


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
            "enable.partition.eof": True,
            "log_level": 3,
        }
    )
    try:
        known = reader.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
        unfinished = set(known)
        reader.assign([TopicPartition(topic, number, 0) for number in known])
        deadline = time.monotonic() + _TIMEOUT_S
        while unfinished:
            read = reader.consume(1_000, _LOOK_S)
            if not read and time.monotonic() > deadline:
                raise TimeoutError(f"the broker gives no more of {topic}")
            for message in read:
                if message.error() is None:
                    yield codec.decode(topic, message.value())
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition())
                else:
                    raise TimeoutError(f"{topic}: {message.error()}")
    finally:
        reader.close()

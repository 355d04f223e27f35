"""What librdkafka says of its connections, as lines of our log instead of its own."""

import time
from collections.abc import Callable
from typing import Final

import structlog
from confluent_kafka import KafkaError

_log = structlog.get_logger("streamkit.kafka")

QUIET: Final = 2
"""librdkafka's log level (critical). What is worth a line reaches us by callbacks; its own log goes
to standard error, 80 lines a second and worker while a broker is away (measured)."""

_AGAIN_S: Final = 30.0


def seldom(client: str) -> Callable[[KafkaError], None]:
    """An error_cb that logs each kind of trouble of a client at once, and then every 30 s."""
    said: dict[int, float] = {}

    def say(error: KafkaError) -> None:
        now, code = time.monotonic(), error.code()
        if code not in said or now - said[code] >= _AGAIN_S:
            said[code] = now
            _log.warning("kafka_trouble", client=client, error=str(error))

    return say

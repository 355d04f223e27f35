"""The Backend on Kafka."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamkit.kafka.consumer import KafkaConsumer, Protocol, consumer_config
from streamkit.kafka.producer import KafkaProducer
from streamkit.ports import Listener

_ASK_S: Final = 5.0
_NO_OPTIONS: Final[Mapping[str, Any]] = {}


class KafkaBackend:
    """A Backend on Kafka.

    `bootstrap` is host:port[,host:port], `prefix` the installation's. `member` is the id of a
    worker's slot, by which a restarted worker is known again; only `classic` has it ("" for
    none). `options` are further settings of librdkafka's, such as security.*.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        protocol: Protocol = "consumer",
        member: str = "",
        options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._protocol: Protocol = protocol
        self._member = member
        self._options = dict(options)

    def consumer(self, group: str, topics: Sequence[str], listener: Listener) -> KafkaConsumer:
        """See Backend."""
        config = consumer_config(
            self._bootstrap, self._prefix + group, self._protocol, self._member, self._options
        )
        return KafkaConsumer(config, topics, listener, self._prefix)

    def producer(self, client: str) -> KafkaProducer:
        """See Backend."""
        return KafkaProducer(self._bootstrap, client, prefix=self._prefix, options=self._options)

    def missing(self, topics: Sequence[str]) -> list[str]:
        """See Backend."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap, **self._options})
        try:
            known = admin.list_topics(timeout=_ASK_S).topics
        except KafkaException:
            return []
        return [topic for topic in topics if self._prefix + topic not in known]

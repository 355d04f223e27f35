"""Faust's Kafka transport with a shorter long poll.

aiokafka has one fetch request under way to a broker. A partition that was being read when the
request was made is not in it, so its new records wait until the request returns: after 1.5 s, as
Faust has it, where nothing else arrives. That would be most of a single photo's way.
"""

from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver

LONG_POLL_MS: Final = 50
"""Longest wait of the broker for records to answer with: bounds what they may be delayed by."""


class _PromptThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer: Any = super()._create_worker_consumer(transport)
        # Neither Faust nor a public name of aiokafka lets it be set once the consumer exists;
        # it is read when the consumer starts.
        consumer._fetch_max_wait_ms = LONG_POLL_MS
        return consumer


class _PromptConsumer(driver.Consumer):
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _PromptThread(self, loop=self.loop, beacon=self.beacon)


class PromptTransport(driver.Transport):
    """To be given to an app as its `transport` before it starts."""

    Consumer = _PromptConsumer

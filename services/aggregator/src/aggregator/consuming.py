"""Two places where Faust's way of reading is changed: one loses records, one delays them."""

from typing import Any, Final

import faust
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver
from mode.utils.queues import FlowControlEvent

LONG_POLL_MS: Final = 50
"""Longest wait of the broker for records to answer with: bounds what they may be delayed by."""


class KeepingFlow(FlowControlEvent):
    """Flow control that throws nothing away when the flow goes on.

    When its tables are recovered, Faust lets the fetcher read the streams again, then seeks, then
    resumes the flow, by which it also clears the agents' queues, and with them what was fetched
    in between: those records would not be read again before the next start, and if it was a
    single one in a partition, its successor's offset is committed and it is lost for good. What
    must be cleared, the queues at a revocation, Faust clears apart from this.
    """

    cleared = 0
    """How often the queues were cleared: what was taken from them before is not ours after."""

    def clear(self) -> None:
        """Throw away what is in the agents' queues."""
        super().clear()
        self.cleared += 1

    def resume(self) -> None:
        """Let agents have records."""
        self._suspend.clear()
        self._resume.set()


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
    """Faust's Kafka transport with a shorter long poll.

    aiokafka has one fetch request under way to a broker. A partition that was being read when the
    request was made is not in it, so its new records wait until the request returns: after 1.5 s,
    as Faust has it, where nothing else arrives. That would be most of a single photo's way.
    """

    Consumer = _PromptConsumer


def mend(app: faust.App) -> KeepingFlow:
    """Change an app so, and give its flow; to be called before it has topics or agents."""
    app.flow_control = flow = KeepingFlow()
    app.transport = PromptTransport(app.conf.broker_consumer, app)
    return flow

"""A Producer to the broker in memory."""

from collections import deque
from collections.abc import Sequence

from streamkit.errors import Reject
from streamkit.memory.broker import MemoryBroker
from streamkit.ports import Delivery
from streamkit.publishing import MESSAGE_TIMEOUT_S, PublishError
from streamkit.records import RawRecord


class MemoryProducer:
    """A Producer. What is sent while the broker is down waits until it is back, in order, or until
    the time-out; that is looked at in every call."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._waiting: deque[tuple[float, int, Sequence[RawRecord]]] = deque()
        self._decided: list[Delivery] = []

    def send(self, ticket: int, records: Sequence[RawRecord], *, urgent: bool = False) -> None:  # noqa: ARG002 - none waits
        """See Producer."""
        self._waiting.append((self._broker.clock.monotonic(), ticket, records))
        self._decide()

    def poll(self, timeout_s: float) -> list[Delivery]:
        """See Producer."""
        self._decide()
        if not self._decided and timeout_s > 0:
            self._broker.idle(timeout_s)
            self._decide()
        decided, self._decided = self._decided, []
        return decided

    def flush(self, timeout_s: float) -> None:
        """See Producer."""
        self._decide()
        if self._waiting:
            self._broker.idle(timeout_s)
            self._decide()

    def close(self) -> None:
        """See Producer."""
        self._waiting.clear()

    def _decide(self) -> None:
        now = self._broker.clock.monotonic()
        while self._waiting:
            since, ticket, records = self._waiting[0]
            if self._broker.down and now - since < MESSAGE_TIMEOUT_S:
                return
            self._waiting.popleft()
            self._decided.append(self._delivery(ticket, records))

    def _delivery(self, ticket: int, records: Sequence[RawRecord]) -> Delivery:
        if self._broker.down or self._broker.drop_sends:
            return Delivery(ticket, PublishError("no acknowledgement"), 0)
        error: Exception | None = None
        appended_ms = 0
        for record in records:
            try:
                taken = self._broker.append(record)
            except Reject as refusal:
                error = refusal
                continue
            appended_ms = taken.timestamp_ms if self._broker.topic(record.topic).append_time else 0
        if error is None and self._broker.drop_acks:
            error = PublishError("no acknowledgement")
        return Delivery(ticket, error, 0 if error else appended_ms)

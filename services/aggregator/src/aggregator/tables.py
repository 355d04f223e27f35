"""Faust tables whose changelog records go out together with the events of the same record."""

from typing import Any

import faust
from faust.types import FutureMessage

from aggregator.delivery import Outgoing


class JoinedTable(faust.Table[bytes, bytes]):
    """Keeps changelog records until they are collected, instead of sending them on its own.

    Faust would send them in the background: nothing tells when the broker has them, and a broker
    away for long stops the process. So the agent collects what its record changed and waits for
    changelog and events alike.
    """

    def __init__(self, app: faust.App, **options: Any) -> None:
        super().__init__(app, **options)
        self._changes: list[Outgoing] = []

    def send_changelog(
        self,
        partition: int | None,
        key: Any,
        value: Any,
        key_serializer: Any = None,
        value_serializer: Any = None,
    ) -> FutureMessage:
        """Called by Faust for each change of a key, in the context of the record that causes it."""
        future = self.changelog_topic.as_future_message(
            key=key,
            value=value,
            partition=partition,
            key_serializer=key_serializer or self.key_serializer,
            value_serializer=value_serializer or self.value_serializer,
        )
        record = future.message
        self._changes.append(
            Outgoing(self.changelog_topic_name, record.key, record.value, partition=partition)
        )
        return future

    def collect(self) -> list[Outgoing]:
        """The changelog records since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

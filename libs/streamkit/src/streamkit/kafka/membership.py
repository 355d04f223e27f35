"""Whether a consumer without partitions is a member of its group all the same.

Under the `consumer` protocol librdkafka says nothing of an assignment that is empty, as those
members have that are more than the partitions. The broker says it to who asks.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

AFTER_S: Final = 3.0
"""So long a new member waits for partitions before it asks, and between two questions."""

_ANSWER_S: Final = 5.0


class Membership:
    """Asks for one consumer, of whose settings `config` has those of the connection."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._group = config["group.id"]
        self._admin: AdminClient | None = None
        self._answer: Future[Any] | None = None
        self._ask_at = time.monotonic() + AFTER_S

    def without_partitions(self, member: str) -> bool:
        """Whether this is a member of the group, which has shared its partitions out, and has
        none. Returns at once; to be called again and again."""
        if self._answer is None:
            if time.monotonic() >= self._ask_at:
                self._admin = self._admin or AdminClient(self._config)
                asked = self._admin.describe_consumer_groups(
                    [self._group], request_timeout=_ANSWER_S
                )
                self._answer = asked[self._group]
            return False
        if not self._answer.done():
            return False
        answer, self._answer = self._answer, None
        self._ask_at = time.monotonic() + AFTER_S
        if answer.exception() is not None:
            return False
        group = answer.result()
        return group.state == ConsumerGroupState.STABLE and any(
            one.member_id == member and not one.assignment.topic_partitions for one in group.members
        )

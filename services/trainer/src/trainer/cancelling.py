"""Which trainings nobody wants any more, by `training.cancelled.v1`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from darkroom_schemas.names import TRAINING_CANCELLED
from streamkit import Reject

_log = structlog.get_logger("trainer.cancelling")

_MOST: Final = 50_000
"""Requests that are remembered; the oldest are forgotten first. Their topic keeps 14 days."""

Decode = Callable[[str, bytes], Mapping[str, Any]]


class Cancellations:
    """Told of by a Follower's thread, asked by others."""

    def __init__(self, decode: Decode, most: int = _MOST) -> None:
        self._decode = decode
        self._most = most
        self._by: dict[str, str] = {}

    def by(self, request_id: str) -> str | None:
        """Who cancelled a request; None while nobody has."""
        return self._by.get(request_id)

    def tell(self, _key: bytes | None, value: bytes | None) -> None:
        """A record of the topic. Raises Busy while the registry is needed and away."""
        if value is None:
            return
        try:
            event = self._decode(TRAINING_CANCELLED, value)
            request_id, by = event["request_id"], event["by"]
        except (Reject, KeyError, TypeError) as error:
            _log.error("cancellation_unreadable", reason=str(error))
            return
        self._by.setdefault(request_id, by)
        if len(self._by) > self._most:
            del self._by[next(iter(self._by))]

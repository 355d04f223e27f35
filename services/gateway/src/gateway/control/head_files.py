"""Heads out of the object store, each fetched once."""

import hashlib
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from heads import Head, HeadError
from streamkit import Reject, Retry

_log = structlog.get_logger("gateway.models")

_AGAIN_S: Final = 30.0
"""A head that could not be had is fetched again after so long."""

_LARGEST: Final = 1 << 28
_MOST: Final = 256


class Files(Protocol):
    """Where the files of models are (streamkit's ObjectStore)."""

    def get(self, uri: str, *, limit: int) -> bytes:
        """The bytes; blocks, raises Reject or Retry."""
        ...


class HeadFiles:
    """Heads by the hash of their files. For one thread."""

    def __init__(self, files: Files, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._known: dict[str, Head] = {}
        self._not_before: dict[str, float] = {}

    def of(self, sha256: str, uri: str) -> Head | None:
        """The head; None while it can't be had, which the log tells."""
        if sha256 in self._known:
            return self._known[sha256]
        if self._clock() < self._not_before.get(sha256, 0.0):
            return None
        try:
            head = self._fetched(sha256, uri)
        except (Reject, Retry, HeadError) as error:
            self._not_before[sha256] = self._clock() + _AGAIN_S
            _log.error("head_unusable", sha256=sha256, uri=uri, reason=str(error))
            return None
        self._not_before.pop(sha256, None)
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[sha256] = head
        return head

    def _fetched(self, sha256: str, uri: str) -> Head:
        data = self._files.get(uri, limit=_LARGEST)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise HeadError("The file is not the one that was registered.")
        return Head.of(data)

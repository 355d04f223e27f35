"""What a training leaves in the object store: finished folds, its head, its report, its end.

All lies below `trainings/REQUEST/`. A fold and an end are kept under the manifest's hash and this
package's version, so that nobody takes those of another lesson, or of other mathematics.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Final, Protocol

import structlog

from heads import Head
from streamkit import Reject, Retry
from trainer.assessing import Answer

_log = structlog.get_logger("trainer.keeping")

_MOST: Final = 256 << 20


class Store(Protocol):
    """See ObjectStore."""

    def get(self, uri: str, *, limit: int) -> bytes: ...

    def put(self, key: str, data: bytes) -> str: ...

    def uri_of(self, key: str) -> str: ...

    def delete(self, uri: str) -> None: ...


class Shelf:
    """The place of one training. Its writes raise Retry while the store is away."""

    def __init__(self, store: Store, request_id: str, manifest_sha256: str) -> None:
        self._store = store
        self._folder = f"trainings/{request_id}"
        made_by = f"{manifest_sha256}:{version('darkroom-trainer')}"
        self._lesson = sha256(made_by.encode()).hexdigest()[:16]

    def put_head(self, head: Head) -> str:
        """Store it; returns the URI."""
        return self._store.put(f"{self._folder}/head-{head.version[:12]}.safetensors", head.data)

    def put_report(self, report: Mapping[str, Any], token: int) -> str:
        """Store it; returns the URI."""
        return self._store.put(f"{self._folder}/report-{token}.json", packed(report))

    def put_end(self, value: Mapping[str, Any]) -> None:
        """The training is over: whoever is told of it again says the same."""
        self._store.put(self._key("ended"), packed(value))

    def end(self) -> dict[str, Any] | None:
        """What `put_end` was given. Raises Retry."""
        found = self._read(self._key("ended"))
        return found if isinstance(found, dict) else None

    def folds(self, computed: Callable[[], None], reused: Callable[[], None]) -> "Folds":
        """The folds of its assessment; it is told of each that is new, or was kept."""
        return Folds(self, computed, reused)

    def fold(self, number: int) -> object:
        """What was kept of a fold; None if nothing can be read."""
        try:
            return self._read(self._key(f"folds/{number}"))
        except Retry:
            return None

    def put_fold(self, number: int, answers: Sequence[Answer]) -> None:
        """Keep a fold. One that can't be kept is worked out again, if it comes to that."""
        try:
            self._store.put(self._key(f"folds/{number}"), packed([asdict(one) for one in answers]))
        except Retry as error:
            _log.warning("fold_not_kept", fold=number, reason=str(error))

    def drop_folds(self, count: int) -> None:
        """Nobody needs them any more; those that can't be removed stay."""
        try:
            for number in range(count):
                self._store.delete(self._store.uri_of(self._key(f"folds/{number}")))
        except (Retry, Reject) as error:
            _log.warning("folds_not_removed", reason=str(error))

    def _key(self, what: str) -> str:
        return f"{self._folder}/{what}-{self._lesson}.json"

    def _read(self, key: str) -> object:
        try:
            return json.loads(self._store.get(self._store.uri_of(key), limit=_MOST))
        except (Reject, ValueError):
            return None


class Folds:
    """The folds of an assessment, kept on a shelf. See Kept."""

    def __init__(
        self, shelf: Shelf, computed: Callable[[], None], reused: Callable[[], None]
    ) -> None:
        self._shelf = shelf
        self._computed = computed
        self._reused = reused
        self._count = 0

    def known(self, fold: int, of: int) -> Sequence[Answer] | None:
        """See Kept."""
        self._count = of
        found = _answers(self._shelf.fold(fold))
        if found is not None:
            self._reused()
        return found

    def keep(self, fold: int, answers: Sequence[Answer]) -> None:
        """See Kept."""
        self._shelf.put_fold(fold, answers)
        self._computed()

    def drop(self) -> None:
        """The training is over."""
        self._shelf.drop_folds(self._count)


def packed(value: object) -> bytes:
    """JSON: the same bytes for the same."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _answers(told: object) -> Sequence[Answer] | None:
    if not isinstance(told, list):
        return None
    try:
        return [
            Answer(**{**one, "confidences": tuple(map(float, one["confidences"]))}) for one in told
        ]
    except (TypeError, KeyError, ValueError):
        return None

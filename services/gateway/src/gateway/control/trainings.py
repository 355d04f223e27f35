"""Has trainings begin that are due: writes down what they learn from, and tells trainers of it.

All of it can be done again: the manifest and the vectors lie under names of their content, and a
training is told of in the transaction that says that it is prepared.
"""

import hashlib
import io
import json
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
import structlog

from darkroom_schemas import ids
from gateway.catalog import labels, model_reports, training_data, trainings, workers
from gateway.catalog.label_shapes import Example
from gateway.catalog.outbox import Outbox
from gateway.catalog.training_data import Due, Holding, Lesson, UnderWay
from gateway.db import Conn
from gateway.training_rules import TrainingRules
from streamkit import Reject, Retry

_log = structlog.get_logger("gateway.trainings")

TRAINER: Final = "trainer"
"""The service that trains."""

FORMAT: Final = 1

_POLL_S: Final = 0.5

_EMBEDDED_S: Final = 600.0
"""So long a training waits for embeddings of its examples at most."""

_NOT_BEGUN_S: Final = 60.0
"""After so long it is said why nothing happens."""

_SILENT_S: Final = 600.0
"""One whose time is over, and of which nothing was heard for so long, has failed."""

_AUTO_WEIGHT: Final = 0.3
"""What a machine said counts less than what people did."""

_NO_EMBEDDER: Final = (
    "No embedder has said yet by which version photos are embedded: is it running?"
)
_NO_TRAINER: Final = "No trainer is running: start it (darkroom up)."
_BUSY: Final = "The trainers that are running have other models in hand."
_GONE: Final = "Its trainer is gone; another one that starts takes it over."


class Puts(Protocol):
    """What stores bytes (streamkit's ObjectStore)."""

    def put(self, key: str, data: bytes) -> str:
        """Store bytes once under a key that names them; returns the URI. Raises Retry."""
        ...


class Tutor:
    """Prepares trainings, and ends those of which nothing is heard any more."""

    def __init__(self, outbox: Outbox, objects: Puts, rules: TrainingRules) -> None:
        self._outbox = outbox
        self._objects = objects
        self._rules = rules

    def work(self, conn: Conn, stop: threading.Event) -> None:
        """Look until `stop`. Raises psycopg.Error; call it again with a new connection."""
        since = training_data.moment(conn)
        while not stop.is_set():
            if not self.turn(conn):
                stop.wait(_POLL_S)
            self.look_after(conn, since)

    def turn(self, conn: Conn) -> int:
        """Prepare what is due; how many trainings."""
        return sum(self._begin(conn, one) for one in training_data.due(conn))

    def look_after(self, conn: Conn, since: datetime) -> None:
        """Say why trainings that trainers were told of do not begin, and end those that are
        lost; `since`: it listens."""
        for one in training_data.under_way(conn, since):
            if one.age_s > self._rules.time_limit_s and one.silent_s > _SILENT_S:
                self._lost(conn, one)
            elif one.silent_s > _NOT_BEGUN_S and (why := _waits_for(conn, one)) is not None:
                training_data.note(conn, one.request_id, why)

    def _begin(self, conn: Conn, one: Due) -> bool:
        """Prepare a training; False where it has to wait, or ended."""
        as_of = training_data.moment(conn)
        version = model_reports.embedding_version(conn)
        examples = labels.all_examples(conn, one.owner, one.model, auto=self._rules.auto_examples)
        why = _lacks(conn, examples, version)
        if why is not None and one.waited_s < _EMBEDDED_S:
            training_data.note(conn, one.request_id, why)
            return False
        if version is None:
            return self._ended(conn, one, _NO_EMBEDDER)
        lesson = training_data.lesson(conn, (one.owner, one.model), examples, version)
        if not lesson.examples:
            return self._ended(conn, one, f"No example has an embedding by {version}.")
        holds = training_data.holding(conn, one.owner, one.model, version)
        try:
            manifest = self._written(one, version, lesson, holds)
        except (Retry, Reject) as error:
            training_data.note(conn, one.request_id, f"It waits for the object store: {error}")
            return False
        against = holds.version if holds else None
        began = training_data.prepared(conn, self._outbox, one, manifest, against, as_of)
        if began:
            about = {"request_id": one.request_id, "model": one.model}
            _log.info("training_prepared", **about, examples=len(lesson.examples))
        return began

    def _written(
        self, one: Due, version: str, lesson: Lesson, holds: Holding | None
    ) -> tuple[str, str]:
        """The manifest's URI and hash; raises Retry, Reject."""
        data = io.BytesIO()
        np.save(data, lesson.vectors, allow_pickle=False)
        vectors = self._put(one, "vectors", "npy", data.getvalue())
        active = None
        if holds is not None and holds.file is not None:
            active = {
                **{"version": holds.version, "head": dict(holds.file)},
                "report_uri": holds.report_uri,
            }
        least = 1 if one.forced else self._rules.least_examples
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "request_id": one.request_id,
            "owner": one.owner,
            "model": one.model,
            "labels": list(lesson.labels),
            "model_version": version,
            "vectors": {"uri": vectors[0], "sha256": vectors[1]},
            "examples": [_example(each) for each in lesson.examples],
            "active": active,
            "policy": {
                "least_accuracy": self._rules.least_accuracy,
                "least_examples": least,
            },
            "time_limit_s": self._rules.time_limit_s,
            "seed": 0,
        }
        text = json.dumps(manifest, ensure_ascii=False, sort_keys=True)
        return self._put(one, "manifest", "json", text.encode())

    def _put(self, one: Due, what: str, kind: str, data: bytes) -> tuple[str, str]:
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"trainings/{one.request_id}/{what}-{sha256[:12]}.{kind}"
        return self._objects.put(key, data), sha256

    def _ended(self, conn: Conn, one: Due, why: str) -> bool:
        with conn.transaction():
            trainings.give_up(conn, self._outbox, one.request_id, ("failed", why))
        return False

    def _lost(self, conn: Conn, one: UnderWay) -> None:
        cause = _waits_for(conn, one) or "Nothing was heard of it any more."
        with conn.transaction():
            trainings.give_up(conn, self._outbox, one.request_id, ("failed", cause))
        _log.warning("training_lost", request_id=one.request_id, model=one.model, reason=cause)


def _example(one: Example) -> dict[str, Any]:
    return {
        **{"photo_id": one.photo_id, "label": one.label, "source": one.source},
        "weight": _AUTO_WEIGHT if one.source == "auto" else 1.0,
    }


def _lacks(conn: Conn, examples: Sequence[Example], version: str | None) -> str | None:
    """What a training of these examples should wait for."""
    if version is None:
        return _NO_EMBEDDER
    count = training_data.to_come(conn, [one.photo_id for one in examples], version)
    if not count:
        return None
    return f"It waits for the embeddings of {count} of its {len(examples)} examples."


def _waits_for(conn: Conn, one: UnderWay) -> str | None:
    """Why nothing is heard of a training; None where its trainer is there."""
    runs = any(each.works for each in workers.workers(conn, ids.LOCAL_OWNER, TRAINER))
    if one.state == "prepared":
        return _BUSY if runs else _NO_TRAINER
    return None if runs else _GONE

"""`python -m bench.runtime.micro`: what each part of a stage's work on a record costs on its own.

Microseconds of CPU per record, of all threads of the process where there are several. The topic
DARKROOM_TOPIC_PREFIX + SOURCE must hold the records.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.runtime.darkroom import wire
from bench.runtime.micro_ipc import ipc

from darkroom_schemas.names import PHOTO_ANALYSIS_REQUESTED
from streamkit.headers import event_headers, readable
from streamkit.kafka.backend import KafkaBackend
from streamkit.messages import Emit
from streamkit.metrics import Meter
from streamkit.records import Offsets, Partition, RawRecord, Taken
from streamkit.tracker import OffsetTracker

SOURCE: Final = PHOTO_ANALYSIS_REQUESTED["batch"]

_MOST: Final = 500
_TIMEOUT_S: Final = 60.0
_TOGETHER: Final = 32
"""Records whose metrics or offsets are handed over at once."""


class _Listener:
    """Takes what it is given."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Nothing to do."""

    def revoked(self, _partitions: Sequence[Partition]) -> Offsets:
        """Nothing to commit."""
        return {}

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Nothing to do."""


def _each(work: Callable[[], object], records: int, clock: Callable[[], float]) -> float:
    """Microseconds of `work` for one of so many records."""
    began = clock()
    work()
    return 1e6 * (clock() - began) / records


def _consumed(backend: KafkaBackend, records: int) -> list[Taken]:
    consumer = backend.consumer("micro", [SOURCE], _Listener())
    taken: list[Taken] = []
    deadline = time.monotonic() + _TIMEOUT_S
    while len(taken) < records and time.monotonic() < deadline:
        taken += consumer.consume(_MOST, 1.0)
    consumer.close()
    if len(taken) != records:
        raise TimeoutError(f"{len(taken)} of {records} records came")
    return taken


def _produced(backend: KafkaBackend, records: Sequence[RawRecord]) -> None:
    producer = backend.producer("micro")
    acknowledged = 0
    for ticket, record in enumerate(records):
        producer.send(ticket, (record,))
        if ticket % _TOGETHER == 0:
            acknowledged += len(producer.poll(0))
        while ticket - acknowledged > 10 * _MOST:
            acknowledged += len(producer.poll(0.01))
    producer.flush(_TIMEOUT_S)
    failed = [one for one in producer.poll(0) if one.error is not None]
    producer.close()
    if failed:
        raise RuntimeError(f"not published: {failed[0].error}")


def _tracked(records: int) -> None:
    tracker = OffsetTracker(Partition(SOURCE, 0), epoch=1)
    for first in range(0, records, _TOGETHER):
        offsets = range(first, min(records, first + _TOGETHER))
        for offset in offsets:
            tracker.take(offset)
        for offset in offsets:
            tracker.complete(offset)
        done = tracker.committable()
        if done is not None:
            tracker.committed(done)


def _metered(records: int) -> None:
    meter = Meter("micro", ["batch"])
    durations = [0.001] * _TOGETHER
    for _ in range(0, records, _TOGETHER):
        meter.finished("batch", "done", durations, durations)


def measured(env: dict[str, str], records: int) -> dict[str, float]:
    """Microseconds of CPU per record by part."""
    backend = KafkaBackend(env["DARKROOM_KAFKA"], prefix=env["DARKROOM_TOPIC_PREFIX"])
    codec, taken = wire.codec(env), list[Taken]()
    own, all_threads = time.thread_time, time.process_time
    found = {
        "consume": _each(lambda: taken.extend(_consumed(backend, records)), records, all_threads)
    }
    requests = list[dict[str, object]]()

    def decode() -> None:
        for one in taken:
            readable(one.headers)
            requests.append(codec.decode(SOURCE, one.value))

    found["decode"] = _each(decode, records, own)
    emits = list[Emit]()
    found["handler"] = _each(
        lambda: emits.extend(wire.answered(one, "detector") for one in requests), records, own
    )
    values = list[bytes]()
    found["encode"] = _each(
        lambda: values.extend(codec.encode(one.topic, one.value) for one in emits), records, own
    )
    cause = dict(taken[0].headers)["traceparent"].decode()
    headers = list[list[tuple[str, bytes]]]()
    found["headers"] = _each(
        lambda: headers.extend(
            event_headers(one, source="micro", traceparent=cause) for one in emits
        ),
        records,
        own,
    )
    made = [
        RawRecord(emit.topic, emit.key.encode(), value, list(head))
        for emit, value, head in zip(emits, values, headers, strict=True)
    ]
    found["produce"] = _each(lambda: _produced(backend, made), records, all_threads)
    found |= ipc(taken, made[0].topic, made[0].value or b"")
    found["ipc in the engine"] -= found["headers"]
    found["tracker"] = _each(lambda: _tracked(records), records, own)
    found["metrics"] = _each(lambda: _metered(records), records, own)
    return found


def main() -> None:
    """Arguments: how many records, and the file for the result."""
    records, out = int(sys.argv[1]), Path(sys.argv[2])
    out.write_text(json.dumps(measured(dict(os.environ), records)), encoding="utf-8")


if __name__ == "__main__":
    main()

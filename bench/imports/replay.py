"""The aggregator alone: the ends of a million photos, and what it keeps of them."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

from bench.imports.measuring import cpu_seconds, log_bytes
from bench.imports.plan import STARTS_S, Plan, said
from bench.imports.progress import Progress
from bench.imports.topics import codec_of, events
from bench.imports.totals import COUNTS
from confluent_kafka import Producer

from darkroom_cli.errors import DarkroomError
from darkroom_cli.stack import Stack
from darkroom_cli.supervision.memory import MemoryPeaks
from darkroom_schemas import ids
from darkroom_schemas.names import (
    BATCH_COMPLETED,
    BATCH_INTAKE,
    BATCH_PHOTO_ENDED,
    BATCH_PROGRESSED,
)
from streamkit import Emit, event_headers

_SEED: Final = 6
_BATCH: Final = str(uuid5(UUID(ids.LOCAL_OWNER), "a million photos"))
_STARTED: Final = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
_IN_FLIGHT: Final = 100
_REPEATED: Final = 0.01
"""Share of ends that are told twice, as after a crash."""

_ENDS: Final = {"auto_labeled": 0.7, "suggested": 0.2, "review": 0.08, "rejected": 0.02}
_PARTIAL: Final = 0.01
_MEMORY_EVERY_S: Final = 2.0
_FLUSH_S: Final = 60.0
_POLL_S: Final = 1.0
_SLICE: Final = 500
"""Records between two looks at the clock."""


class NotCountedError(DarkroomError):
    """The aggregator did not come to an end with it."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What counting so many photos took. `cpu_ms` is of the aggregator, for each photo."""

    photos: int
    took_s: float
    changelog_bytes: int
    aggregator_mb: float
    idle_mb: float
    cpu_ms: float
    wrong: list[str]

    @property
    def per_s(self) -> float:
        """Photos a second; no more than were asked for."""
        return self.photos / self.took_s


def measure(plan: Plan, folder: Path, write: Callable[[str], None]) -> Replayed:
    """Start broker, registry and aggregator, tell them of the photos, wait for the completion.

    Raises DarkroomError, NotCountedError, TimeoutError.
    """
    with ExitStack() as undo:
        stack = Stack(folder / "replay", services=("aggregator",))
        write(f"starting an aggregator alone, {said(STARTS_S)}")
        stack.start()
        undo.callback(stack.stop)
        roots = {"aggregator": stack.pid("aggregator")}
        memory = undo.enter_context(MemoryPeaks(lambda: roots, _MEMORY_EVERY_S))
        memory.sample()
        idle_mb = memory.peaks["aggregator"]
        expected = said(plan.replayed / plan.replayed_per_s)
        write(f"telling it of the ends of {plan.replayed:,} photos, {expected}")
        before, began = cpu_seconds(roots), time.monotonic()
        sums = _tell(stack.environment, plan, Progress("ends", plan.replayed, write))
        counting = Progress("counted", plan.replayed, write)
        completed = _completion(stack.environment, counting, plan.patience_s)
        took = time.monotonic() - began
        memory.sample()
        used = cpu_seconds(roots)["aggregator"] - before["aggregator"]
        return Replayed(
            plan.replayed,
            took,
            log_bytes(stack.data.kafka),
            memory.peaks["aggregator"],
            idle_mb,
            1000 * used / plan.replayed,
            _wrong(sums, completed),
        )


def story(photos: int) -> Iterator[tuple[Emit, str | None]]:
    """All that is said of an import, in the order in which it comes; with the end that each event
    is the first to tell, if it does.

    Ends come in any order among a hundred photos under way; some come twice; how far the scan is
    comes every hundred files. The same number always gives the same story.
    """
    draw = random.Random(_SEED)  # noqa: S311 - repeatable, not secret
    kinds, weights = list(_ENDS), list(_ENDS.values())
    yield _intake("started", 0), None
    for start in range(0, photos, _IN_FLIGHT):
        window = list(range(start, min(start + _IN_FLIGHT, photos)))
        yield _intake("scanning", window[-1] + 1), None
        draw.shuffle(window)
        for index in window:
            end = draw.choices(kinds, weights)[0]
            partial = end == "review" and draw.random() < _PARTIAL / _ENDS["review"]
            event = _ended(index, end, partial=partial)
            yield event, f"{end}+partial" if partial else end
            if draw.random() < _REPEATED:
                yield event, None
    yield _intake("sealed", photos), None


def sums_of(ends: Mapping[str, int], photos: int) -> dict[str, int]:
    """The totals that must come out, of the counts of the ends told."""
    counts = {name: ends.get(name, 0) for name in _ENDS}
    counts["review"] += ends.get("review+partial", 0)
    rejected = counts.pop("rejected")
    return {
        **dict.fromkeys(COUNTS, 0),
        **counts,
        "found": photos,
        "rejected": rejected,
        "accepted": photos - rejected,
        "partial": ends.get("review+partial", 0),
    }


def _tell(env: Mapping[str, str], plan: Plan, progress: Callable[[int], None]) -> Mapping[str, int]:
    """Publish the story at its pace, and wait until the broker has it; the totals to come."""
    codec = codec_of(env)
    producer: Any = Producer(
        {
            "bootstrap.servers": env["DARKROOM_KAFKA"],
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "log_level": 3,
        }
    )
    ends: Counter[str] = Counter()
    began, done = time.monotonic(), 0
    for number, (emit, end) in enumerate(story(plan.replayed)):
        headers = event_headers(emit, source="bench")
        value = codec.encode(emit.topic, emit.value)
        producer.produce(emit.topic, value, emit.key.encode(), headers=headers)
        if end is not None:
            ends[end] += 1
            done += 1
        if number % _SLICE == 0:
            progress(done)
            early = began + done / plan.replayed_per_s - time.monotonic()
            producer.poll(max(0.0, early))
    if producer.flush(_FLUSH_S):
        raise NotCountedError("The broker did not take all records.")
    return sums_of(ends, plan.replayed)


def _completion(
    env: Mapping[str, str], progress: Callable[[int], None], patience_s: float
) -> list[Mapping[str, Any]]:
    """The completions of the import, once there is one; each different one once.

    Raises NotCountedError where nothing moves any more.
    """
    moved, last = time.monotonic(), -1
    while True:
        found = {
            tuple(event[name] for name in COUNTS): event for event in _ours(env, BATCH_COMPLETED)
        }
        if found:
            return list(found.values())
        ended = [event["accepted"] + event["rejected"] for event in _ours(env, BATCH_PROGRESSED)]
        done = max(ended, default=0)
        progress(done)
        if done != last:
            moved, last = time.monotonic(), done
        if time.monotonic() - moved > patience_s:
            raise NotCountedError(
                f"The aggregator has not moved for {patience_s:.0f} s, at {done}."
            )
        time.sleep(_POLL_S)


def _ours(env: Mapping[str, str], topic: str) -> Iterator[Mapping[str, Any]]:
    return (event for event in events(env, topic) if event["batch_id"] == _BATCH)


def _wrong(sums: Mapping[str, int], completed: list[Mapping[str, Any]]) -> list[str]:
    if len(completed) != 1:
        return [f"{len(completed)} different completions were told"]
    return [
        f"the completion says {name} {completed[0][name]}, the records {sums[name]}"
        for name in COUNTS
        if completed[0][name] != sums[name]
    ]


def _ended(index: int, end: str, *, partial: bool) -> Emit:
    photo = str(uuid5(UUID(_BATCH), str(index)))
    analysis = ids.analysis_id(photo, _BATCH)
    value = {
        "owner": ids.LOCAL_OWNER,
        "batch_id": _BATCH,
        "index": index,
        "photo_id": photo,
        "analysis_id": analysis,
        "revision": 1,
        "end": end,
        "partial": partial,
        "ended_at": _STARTED + timedelta(milliseconds=20 * index),
    }
    key = ids.chunk_key(_BATCH, ids.chunk_of(index))
    return Emit(BATCH_PHOTO_ENDED, key, value, ids.batch_event_id(_BATCH, f"ended:{index}"))


def _intake(state: str, found: int) -> Emit:
    value = {
        "owner": ids.LOCAL_OWNER,
        "batch_id": _BATCH,
        "lane": "batch",
        "state": state,
        "found": found,
        "duplicates": 0,
        "refused": 0,
        "submitted": found,
        "started_at": _STARTED,
        "occurred_at": _STARTED + timedelta(milliseconds=20 * found),
    }
    name = f"intake:{state}:{found}"
    return Emit(BATCH_INTAKE, _BATCH, value, ids.batch_event_id(_BATCH, name))

"""Keeps an engine process at the heads that are active, whoever's they are."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from stagekit.adding import Add
from stagekit.labelling import Head, HeadVersion, Labelling, OwnLabels
from stagekit.reasons import reason
from stagekit.versions import Activation, Version, VersionError

_log = structlog.get_logger("stagekit.models")

_AGAIN_S: Final = 30.0
"""After so long a head that could not be loaded is tried again."""

_ROUND_S: Final = 1.0
"""What was loaded in so long is used, before the next is loaded."""

_END_S: Final = 2.0

_MOST_REASONS: Final = 100
"""Troubles that are told: a report is one record."""

Tell = Callable[[Mapping[str, int], Mapping[str, str]], None]
"""Told of the generation of each head that holds, and why others do not label."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    generation: int
    reason: str
    again_at: float | None


@dataclass(slots=True, eq=False)
class _Held:
    """All heads at a moment, and how much work has them in hand."""

    heads: Mapping[str, Head] = field(default_factory=dict)
    by_owner: Mapping[str, tuple[Head, ...]] = field(default_factory=dict)
    uses: int = 0

    def generations(self) -> dict[str, int]:
        return {name: head.generation for name, head in self.heads.items()}


class Heads:
    """Loads what is active in a thread of its own, and swaps it in; see Adds.

    What is looked at while heads change is labelled by those of its beginning, and a generation is
    told only once nothing in hand works with another one. A head that can't be had is told with its
    reason and tried again every 30 s; the one before goes on, and so does everything else.
    `files` fetches those of a version.
    """

    def __init__(
        self,
        labelling: Labelling,
        files: Callable[[Version], Path | None],
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._labelling = labelling
        self._files = files
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: dict[str, Activation] = {}
        self._troubles: dict[str, _Trouble] = {}
        self._now = _Held()
        self._before: list[_Held] = []
        self._told: tuple[Mapping[str, int], Mapping[str, str]] = ({}, {})
        self._stirred = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="head-keeper", daemon=True)

    def knows(self, model: str) -> bool:
        """Whether a model of the registry is a head."""
        return self._labelling.owner_of(model) is not None

    def told(self, name: str, activation: Activation) -> None:
        """This holds of a head from now on. From any thread."""
        with self._lock:
            before = self._wanted.get(name)
            if before is not None and before.generation >= activation.generation:
                return
            self._wanted[name] = activation
        self._stirred.set()

    def start(self, within_s: float) -> None:
        """Load what holds, but for no longer: the rest comes in later."""
        self._turn(within_s)
        self._thread.start()

    def close(self) -> None:
        """Keep nothing any more; what is in hand is labelled to its end."""
        self._closing.set()
        self._stirred.set()
        if self._thread.is_alive():
            self._thread.join(_END_S)

    @contextmanager
    def use(self, owner: str) -> Iterator[Add]:
        """See Adds."""
        with self._lock:
            held = self._now
            held.uses += 1
        try:
            yield OwnLabels(held.by_owner.get(owner, ()), self._labelling.seen, self._faulty)
        finally:
            with self._lock:
                held.uses -= 1
                over = held is not self._now and not held.uses
            if over:
                self._stirred.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._stirred.wait(self._pause_s())
            self._stirred.clear()
            self._turn(_ROUND_S)

    def _pause_s(self) -> float | None:
        """Seconds until something is to be done, unless something happens before; None: forever."""
        with self._lock:
            troubles = self._troubles.values()
            moments = [one.again_at for one in troubles if one.again_at is not None]
        return max(0.0, min(moments) - self._clock()) if moments else None

    def _turn(self, within_s: float) -> None:
        """Load what is due, use it, and tell what has come of it."""
        until = self._clock() + within_s
        fresh: dict[str, Head] = {}
        for name, wanted in self._due():
            if self._closing.is_set():
                return
            if self._clock() >= until:
                self._stirred.set()
                break
            try:
                fresh[name] = self._loaded(name, wanted, fresh)
            except Exception as error:  # noqa: BLE001 - a head may have any defect
                self._trouble(name, wanted.generation, reason(error))
        if fresh:
            self._swap(fresh)
        self._say()

    def _due(self) -> list[tuple[str, Activation]]:
        """Heads to be loaded, those first that were not yet tried."""
        untried, others = [], []
        with self._lock:
            for name, wanted in self._wanted.items():
                trouble = self._troubles.get(name)
                if trouble is not None and trouble.generation == wanted.generation:
                    if trouble.again_at is not None and trouble.again_at <= self._clock():
                        others.append((name, wanted))
                elif self._lacks(name, wanted.generation):
                    untried.append((name, wanted))
        return untried + others

    def _lacks(self, name: str, generation: int) -> bool:
        head = self._now.heads.get(name)
        return head is None or head.generation < generation

    def _loaded(self, name: str, wanted: Activation, fresh: Mapping[str, Head]) -> Head:
        """Raises what loading raises; VersionError."""
        most = self._labelling.most
        if len({*self._now.heads, *fresh, name}) > most:
            raise VersionError(
                f"An engine process holds at most {most:,} heads: DARKROOM_HEADS_MOST."
            )
        active, shadow = self._version(wanted.active), None
        if wanted.shadow is not None:
            try:
                shadow = self._version(wanted.shadow)
            except Exception as error:
                why = f"The shadow {wanted.shadow.version} can't be loaded: {reason(error)}"
                if not self._lacks(name, wanted.generation):
                    raise VersionError(why) from error
                self._trouble(name, wanted.generation, why)
                return Head(name, wanted.generation, active)
        with self._lock:
            self._troubles.pop(name, None)
        return Head(name, wanted.generation, active, shadow, wanted.share)

    def _version(self, version: Version) -> HeadVersion:
        loaded = self._labelling.load(version, self._files(version))
        return HeadVersion(version.version, loaded)

    def _faulty(self, head: Head, why: str) -> None:
        """A head that was loaded can't label after all: told, and left to the next activation."""
        with self._lock:
            if self._now.heads.get(head.name) is not head or head.name in self._troubles:
                return
            self._troubles[head.name] = _Trouble(head.generation, why, None)
        _log_failed(head.name, head.generation, why)
        self._stirred.set()

    def _trouble(self, name: str, generation: int, why: str) -> None:
        with self._lock:
            known = self._troubles.get(name)
            self._troubles[name] = _Trouble(generation, why, self._clock() + _AGAIN_S)
        if known is None or known.reason != why:
            _log_failed(name, generation, why)

    def _swap(self, fresh: Mapping[str, Head]) -> None:
        heads = {**self._now.heads, **fresh}
        by_owner: dict[str, list[Head]] = {}
        for name in sorted(heads):
            by_owner.setdefault(self._labelling.owner_of(name) or "", []).append(heads[name])
        with self._lock:
            self._before.append(self._now)
            self._now = _Held(heads, {owner: tuple(some) for owner, some in by_owner.items()})
            for name, head in fresh.items():
                trouble = self._troubles.get(name)
                if trouble is not None and trouble.generation < head.generation:
                    del self._troubles[name]  # of the one before, told in the meantime
        for head in fresh.values():
            _log.info(
                "head_activated",
                head=head.name,
                generation=head.generation,
                head_version=head.active.version,
            )

    def _say(self) -> None:
        with self._lock:
            self._before = [held for held in self._before if held.uses]
            oldest = self._before[0] if self._before else self._now
            told = sorted(self._troubles)[:_MOST_REASONS]
            said = (oldest.generations(), {name: self._troubles[name].reason for name in told})
        if said != self._told:
            self._told = said
            self._tell(*said)


def _log_failed(name: str, generation: int, why: str) -> None:
    _log.error("head_failed", head=name, generation=generation, reason=why)

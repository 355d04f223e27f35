"""The engine that works now, and its replacement without a gap."""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import structlog

from stagekit.loaded import Loaded

_log = structlog.get_logger("stagekit.models")

Load = Callable[[], Loaded]


class Resident:
    """A loaded engine that may be let go of while nobody needs it, and is loaded again then."""

    def __init__(self, loaded: Loaded, load: Load, clock: Callable[[], float]) -> None:
        self._loaded: Loaded | None = loaded
        self._load = load
        self._clock = clock
        self._loading = threading.Lock()
        self._changed = threading.Condition()
        self._uses = 0
        self._used_at = clock()

    @contextmanager
    def use(self) -> Iterator[Loaded]:
        """The engine, which stays for so long; loaded first if it was let go of."""
        self.hold()
        try:
            yield self.loaded()
        finally:
            self.release()

    def hold(self) -> None:
        """From now on it is used, until `release`."""
        with self._changed:
            self._uses += 1

    def loaded(self) -> Loaded:
        """The engine, loaded; only while it is held."""
        with self._loading:
            if self._loaded is None:
                _log.info("engine_loads_again")
                self._loaded = self._load()
            return self._loaded

    def release(self) -> None:
        """The end of a `hold`."""
        with self._changed:
            self._uses -= 1
            self._used_at = self._clock()
            self._changed.notify_all()

    def unused(self, timeout_s: float) -> bool:
        """Wait until nobody uses it, but no longer; whether nobody does."""
        with self._changed:
            return self._changed.wait_for(lambda: self._uses == 0, timeout_s)

    def idle_s(self) -> float:
        """Seconds since it was last used; 0 while it is, or where it was let go of."""
        with self._changed:
            idle = self._uses == 0 and self._loaded is not None
            return self._clock() - self._used_at if idle else 0.0

    def let_go(self) -> bool:
        """Free its memory, unless somebody uses it; whether that was done."""
        with self._changed:
            if self._uses or self._loaded is None:
                return False
            self._loaded = None
        give_memory_back()
        return True


def give_memory_back() -> None:
    """Have the system get what nobody holds any more."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        # glibc keeps what was freed for itself, which for a model is most of it.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


@dataclass(frozen=True, slots=True)
class Shadow:
    """A version that looks at `share` (0 to 1) of the photos beside the one that works."""

    version: str
    resident: Resident
    share: float


@dataclass(frozen=True, slots=True)
class Serving:
    """What makes parts now. `generation`: of the activation that it obeys, 0: of none.

    `version` is what its parts say as their model_version, `engine` the name of its engine.
    `finding`: why the shadow that was asked for does not look.
    """

    generation: int
    version: str
    engine: str
    resident: Resident
    shadow: Shadow | None = None
    finding: str | None = None

    @classmethod
    def of(cls, loaded: Loaded) -> Self:
        """An engine that stays as it is."""
        engine = loaded.engine
        resident = Resident(loaded, lambda: loaded, time.monotonic)
        return cls(0, engine.model_version, engine.name, resident)


class Servings:
    """What serves now: work that has begun ends with what it began with."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._lock = threading.Lock()

    @classmethod
    def of(cls, loaded: Loaded) -> Self:
        """An engine that stays as it is."""
        return cls(Serving.of(loaded))

    @property
    def now(self) -> Serving:
        """What work that begins now is done with."""
        return self._serving

    @contextmanager
    def use(self) -> Iterator[tuple[Serving, Loaded]]:
        """What serves now, for a piece of work from its beginning to its end."""
        with self._lock:  # between a look and a hold it might be swapped, and be thought unused
            serving = self._serving
            serving.resident.hold()
        try:
            yield serving, serving.resident.loaded()
        finally:
            serving.resident.release()

    def swap(self, serving: Serving) -> Serving:
        """From now on this serves; returns what served before, which may still be in use."""
        with self._lock:
            before, self._serving = self._serving, serving
        return before

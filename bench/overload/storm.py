"""More photos than the machine can do: what is refused, what is accepted, what is lost."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.overload.senders import Answer, Client, send
from bench.overload.shots import Shots
from bench.overload.system import System
from bench.runtime.stats import percentile

from darkroom_cli.supervision.memory import MemoryPeaks

LANE: Final = "default"
_CLIENTS: Final = 16
_HIGH_EVERY_S: Final = 2.0
_IDLE: Final = 60
_PATIENCE_S: Final = 120.0

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Storm:
    """`can_per_s`: photos a second from hand-in to end, measured before; `asked_per_s`: what was
    sent while it stormed. Milliseconds of answers: `idle_ms` to accepted photos with nothing else
    to do. `high`: photos of lane high that were handed in meanwhile, and accepted ones of them.
    `memory_mb`: of all processes before, and at the most, by name. `lost`: accepted photos without
    an end. `codes`: refusals by code."""

    can_per_s: float
    asked_per_s: float
    idle_ms: Sequence[float]
    accepted_ms: Sequence[float]
    refused_ms: Sequence[float]
    codes: Mapping[str, int]
    high: tuple[int, int]
    memory_before_mb: Mapping[str, float]
    memory_peak_mb: Mapping[str, float]
    lost: int


def measure(system: System, seconds: float, times: float, write: Write) -> Storm:
    """Ask for `times` what the machine can do, for so many seconds. Raises StuckError, OSError."""
    warm = send(system.url, Shots("warm").__getitem__, _IDLE, lane=LANE, clients=1)
    system.drain(_ids(warm), _PATIENCE_S)
    write(f"{_IDLE} photos, idle")
    idle = send(system.url, Shots("idle").__getitem__, _IDLE, lane=LANE, clients=1, per_s=4)
    system.drain(_ids(idle), _PATIENCE_S)
    can_per_s = _capacity(system, write)
    asked = times * can_per_s
    write(f"{asked:.0f} photos a second for {seconds:.0f} s: {times:g} times what it can do")
    roots = {name: pid for name, pid in system.stack.pids().items() if name != "supervisor"}
    shots = Shots("storm")
    with MemoryPeaks(lambda: roots, 2.0) as memory:
        memory.sample()
        before = dict(memory.peaks)
        with _Beside(system) as beside:
            began = time.monotonic()
            answers = send(
                system.url,
                shots.__getitem__,
                round(asked * seconds),
                lane=LANE,
                clients=_CLIENTS,
                per_s=asked,
            )
            took = time.monotonic() - began
        memory.sample()
        peaks = dict(memory.peaks)
    accepted = [answer for answer in answers if answer.accepted]
    refused = [answer for answer in answers if not answer.accepted]
    write(f"{len(accepted)} were accepted, {len(refused)} refused; waiting for their ends")
    lost = system.drain(_ids([*accepted, *beside.answers]), _PATIENCE_S)
    return Storm(
        can_per_s,
        len(answers) / took,
        [answer.ms for answer in idle],
        [answer.ms for answer in accepted],
        [answer.ms for answer in refused],
        _counted([str(answer.code) for answer in refused]),
        (len(beside.answers), sum(answer.accepted for answer in beside.answers)),
        before,
        peaks,
        lost,
    )


def p(values: Sequence[float], percent: float) -> float:
    """A percentile; 0 of nothing."""
    return percentile(values, percent) if values else 0.0


def _capacity(system: System, write: Write, photos: int = 400) -> float:
    """Photos a second that it can do: of so many at once, fewer than a lane is warned of."""
    write("finding out what it can do")
    began = time.monotonic()
    answers = send(system.url, Shots("capacity").__getitem__, photos, lane=LANE, clients=_CLIENTS)
    ids = _ids(answers)
    lost = system.drain(ids, _PATIENCE_S)
    return (len(ids) - lost) / (time.monotonic() - began)


class _Beside:
    """Hands a photo in on lane high every other second, until the context ends."""

    def __init__(self, system: System) -> None:
        self.answers: list[Answer] = []
        self._client, self._shots = Client(system.url), Shots("high")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="high", daemon=True)

    def __enter__(self) -> "_Beside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._over.wait(_HIGH_EVERY_S):
            self.answers.append(self._client.hand_in(self._shots[len(self.answers)], "high"))


def _ids(answers: Sequence[Answer]) -> list[str]:
    return [answer.photo_id for answer in answers if answer.photo_id is not None]


def _counted(codes: Sequence[str]) -> dict[str, int]:
    return {code: codes.count(code) for code in sorted(set(codes))}

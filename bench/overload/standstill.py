"""The detector stands still while photos come in: when they are refused, why, and until when."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.overload.senders import Answer, Client, send
from bench.overload.shots import Shots
from bench.overload.system import System, until

LANE: Final = "default"
_CLIENTS: Final = 8
_LOOK_S: Final = 0.5
_PATIENCE_S: Final = 120.0

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Probe:
    """A refusal after the detector's return: its Retry-After, and the seconds until the lane was
    open."""

    said_s: float
    took_s: float


@dataclass(frozen=True, slots=True)
class Standstill:
    """`highest`: the most that the system said was waiting; `seen`: states in their order. `cause`:
    of the refusals while it stood still. `high`: photos of lane high handed in, accepted, and
    analysed in the end. `lost`: accepted photos without an end."""

    pushed: int
    accepted: int
    highest: int
    seen: Sequence[str]
    cause: str
    retry_after_s: Sequence[int]
    probes: Sequence[Probe]
    high: tuple[int, int, int]
    lost: int


def measure(system: System, photos: int, write: Write) -> Standstill:
    """Stop the detector, hand photos in, let it go on. Raises StuckError, OSError."""
    detector = system.stack.pid("detector")
    write(f"the detector stands still while {photos} photos are handed in")
    os.kill(detector, signal.SIGSTOP)
    try:
        first = send(system.url, Shots("first").__getitem__, 4, lane=LANE, clients=1)
        until("the broker misses the detector", lambda: _missed(system), _PATIENCE_S)
        with _Watch(system) as watch:
            high = [_hand_in(system, "high", number) for number in range(3)]
            pushed = send(
                system.url, Shots("pushed").__getitem__, photos, lane=LANE, clients=_CLIENTS
            )
            high += [_hand_in(system, "high", number) for number in range(3, 6)]
            until("the lane is closed", lambda: watch.state == "closed", _PATIENCE_S)
            refused = [answer for answer in pushed if not answer.accepted]
            write("it goes on")
            os.kill(detector, signal.SIGCONT)
            probes, opened = _probed(system, watch)
            high.append(_hand_in(system, "high", 6))
    finally:
        os.kill(detector, signal.SIGCONT)
    accepted = [answer for answer in (*first, *pushed, *probes, *high) if answer.accepted]
    ids = [str(answer.photo_id) for answer in accepted]
    lost = system.drain(ids, _PATIENCE_S)
    return Standstill(
        len(first) + len(pushed),
        sum(answer.accepted for answer in (*first, *pushed)),
        watch.highest,
        watch.seen,
        refused[-1].detail if refused else "",
        [answer.retry_after_s or 0 for answer in refused],
        [
            Probe(answer.retry_after_s or 0, opened - answer.at)
            for answer in probes
            if not answer.accepted
        ],
        (
            len(high),
            sum(answer.accepted for answer in high),
            system.ended([str(answer.photo_id) for answer in high if answer.accepted]),
        ),
        lost,
    )


def _missed(system: System) -> bool:
    stages: list[dict[str, Any]] = system.lane(LANE).get("stages", [])
    return any(one["name"] == "detector" and one["workers"] == 0 for one in stages)


def _hand_in(system: System, lane: str, number: int) -> Answer:
    client = Client(system.url)
    try:
        return client.hand_in(Shots(f"one {lane}")[number], lane)
    finally:
        client.close()


def _probed(system: System, watch: "_Watch") -> tuple[list[Answer], float]:
    """Hand a photo in every second until it is accepted; the answers, and when that was."""
    answers: list[Answer] = []
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        answers.append(_hand_in(system, LANE, 1_000_000 + len(answers)))
        if answers[-1].accepted:
            break
        time.sleep(1.0)
    until("the lane is open", lambda: watch.state != "closed", _PATIENCE_S)
    # Before it goes on, nobody can know: those were said 60 s.
    return answers, answers[-1].at


class _Watch:
    """Looks at the lane's load until the context ends."""

    def __init__(self, system: System) -> None:
        self.highest = 0
        self.state = "open"
        self.seen: list[str] = []
        self._system = system
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_S):
            lane = self._system.lane(LANE)
            self.state = lane["state"]
            self.highest = max(self.highest, lane["records"])
            if not self.seen or self.seen[-1] != self.state:
                self.seen.append(self.state)

"""What the supervisor tells the world: one small JSON file, replaced whole."""

import os
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from darkroom_cli.supervision.spec import Kind


class Phase(StrEnum):
    """Where one program stands."""

    WAITING = "waiting"  # for what it comes after
    STARTING = "starting"  # runs, does not answer yet
    READY = "ready"  # a daemon answers
    UNREADY = "unready"  # it was ready and no longer answers
    DONE = "done"  # a step has exited with 0
    BACKOFF = "backoff"  # it ended and is started again soon
    STOPPING = "stopping"  # has its stop signal
    STOPPED = "stopped"
    FAILED = "failed"  # given up


class StackPhase(StrEnum):
    """Where the whole stack stands."""

    STARTING = "starting"
    READY = "ready"  # everything has been ready once
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"  # did not start; everything is stopped


class ProcessState(BaseModel):
    """One program. Times are seconds since the epoch, `ready_s` seconds from start to ready."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Kind
    phase: Phase
    pid: int | None = None
    birth: str | None = None
    port: int | None = None
    restarts: int = 0
    started_at: float | None = None
    ready_s: float | None = None
    reason: str = ""


class Failure(BaseModel):
    """Why a stack did not start."""

    model_config = ConfigDict(frozen=True)

    process: str
    reason: str


class StackState(BaseModel):
    """Everything about a stack. `addresses` holds secrets: the file is for its owner only."""

    model_config = ConfigDict(frozen=True)

    phase: StackPhase
    supervisor_pid: int
    supervisor_birth: str | None
    started_at: float
    ready_s: float | None = None
    failure: Failure | None = None
    addresses: dict[str, str] = {}
    processes: tuple[ProcessState, ...] = ()

    def process(self, name: str) -> ProcessState:
        """The program of that name. Raises KeyError."""
        for process in self.processes:
            if process.name == name:
                return process
        raise KeyError(name)

    @property
    def all_ready(self) -> bool:
        """Whether the stack is up and every program answers at this moment."""
        return self.phase is StackPhase.READY and all(
            process.phase in (Phase.READY, Phase.DONE) for process in self.processes
        )


def read_state(path: Path) -> StackState | None:
    """The last state written, or None where there is none that can be read."""
    try:
        return StackState.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_state(path: Path, state: StackState) -> None:
    """Replace the file in one move, readable by its owner only."""
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(state.model_dump_json())
    fresh.replace(path)

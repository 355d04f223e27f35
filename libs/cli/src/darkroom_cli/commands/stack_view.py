"""How the state of a stack is shown: as a table, as JSON, as lines about what changed."""

import json
import re
import time
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from darkroom_cli.stack import Stack
from darkroom_cli.supervision.memory import tree_memory_mb
from darkroom_cli.supervision.spec import Kind
from darkroom_cli.supervision.state import Phase, ProcessState, StackState

_COLOURS = {
    Phase.READY: "green",
    Phase.DONE: "green",
    Phase.FAILED: "red",
    Phase.BACKOFF: "red",
    Phase.UNREADY: "yellow",
    Phase.STARTING: "yellow",
}
_PASSWORD = re.compile(r"(?<=:)[^:/@]+(?=@)")


def show(stack: Stack, console: Console) -> None:
    """The table of programs and the addresses, passwords left out."""
    state = stack.state()
    if state is None or not stack.running:
        console.print(_why_not_up(state))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("program", "state", "pid", "port", "restarts", "PSS MB", "up"):
        left = column in ("program", "state")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    memory = tree_memory_mb(stack.pids())
    for process in state.processes:
        if process.kind is Kind.DAEMON:
            table.add_row(*_row(process, memory.get(process.name)))
    console.print(table)
    for name, address in state.addresses.items():
        hidden = _PASSWORD.sub("…", address)
        console.print(f"  {name:10} {hidden}", highlight=False, soft_wrap=True)


def as_json(stack: Stack) -> str:
    """One object; `processes` holds steps too. Memory in MB, times in seconds."""
    state = stack.state()
    if state is None or not stack.running:
        return json.dumps({"phase": "stopped", "addresses": {}, "processes": []}, indent=2)
    memory = tree_memory_mb(stack.pids())
    fields = {"name", "kind", "phase", "pid", "port", "restarts", "ready_s", "reason"}
    return json.dumps(
        {
            "phase": state.phase,
            "all_ready": state.all_ready,
            "ready_s": state.ready_s,
            "supervisor": {"pid": state.supervisor_pid, "pss_mb": memory["supervisor"]},
            "addresses": state.addresses,
            "processes": [
                {
                    **process.model_dump(mode="json", include=fields),
                    "uptime_s": _uptime(process),
                    "pss_mb": memory.get(process.name),
                }
                for process in state.processes
            ],
        },
        indent=2,
    )


def changes(before: StackState | None, now: StackState | None) -> Iterator[str]:
    """A line for each program whose state or number of restarts differs."""
    if now is None:
        return
    known = {process.name: process for process in before.processes} if before else {}
    for process in now.processes:
        old = known.get(process.name)
        if old and (old.phase, old.restarts) != (process.phase, process.restarts):
            clock = time.strftime("%H:%M:%S")
            reason = f": {process.reason}" if process.reason else ""
            yield f"{clock} {process.name} {process.phase}{reason}"


def _why_not_up(state: StackState | None) -> str:
    if state and state.failure:
        return f"not up; the last start failed: {state.failure.process}: {state.failure.reason}"
    return "not up; start it with ./darkroom up"


def _row(process: ProcessState, memory: float | None) -> tuple[str, ...]:
    colour = _COLOURS.get(process.phase)
    shown = f"[{colour}]{process.phase}[/{colour}]" if colour else str(process.phase)
    uptime = _uptime(process)
    return (
        process.name,
        f"{shown} {process.reason}".rstrip(),
        str(process.pid or ""),
        str(process.port or ""),
        str(process.restarts),
        f"{memory:.0f}" if memory is not None else "",
        _duration(uptime) if uptime is not None else "",
    )


def _uptime(process: ProcessState) -> float | None:
    return round(time.time() - process.started_at, 1) if process.started_at else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

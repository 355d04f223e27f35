"""What operators have set, and what became of tasks, as people read it in a terminal."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from darkroom_cli.client import Json
from darkroom_cli.show import one_line, plain

_COLOURS: Final = {"done": "green", "failed": "red", "waiting": "cyan", "cancelled": "dim"}


def sentence(control: Json) -> str:
    """What holds for a target, in one line."""
    held = _held(control)
    target = plain(control["target"])
    if not held:
        return f"{target}: nothing is set."
    why = f" ({one_line(control['reason'], 200)})" if control["reason"] else ""
    return f"{target}: {', '.join(held)}; by {one_line(control['owner'])}{why}"


def controls_table(found: Sequence[Json]) -> Table:
    """A row for each target."""
    table = _table("target", "what holds", "by", "since", "why")
    for control in found:
        table.add_row(
            Text(plain(control["target"])),
            Text(", ".join(_held(control))),
            Text(one_line(control["owner"])),
            _moment(control["changed_at"]),
            Text(one_line(control["reason"], 80)),
        )
    return table


def tasks_table(found: Sequence[Json]) -> Table:
    """A row for each task."""
    table = _table("when", "stage", "lane", "state", "ms", "file", "photo", "by, or why not")
    for task in found:
        table.add_row(
            _moment(task["ended_at"] or task["submitted_at"]),
            Text(plain(task["stage"])),
            Text(plain(task["lane"])),
            Text(task["state"], style=_COLOURS.get(task["state"], "yellow")),
            "" if task["ms"] is None else f"{task['ms']:,.0f}",
            Text(one_line(task["file_name"])),
            Text(plain(task["photo_id"])),
            Text(_about(task)),
        )
    return table


def name_of(photo: Json) -> str:
    """How people call a photo."""
    return one_line(photo["file_name"], 100) or plain(photo["photo_id"])


def _held(control: Json) -> list[str]:
    held = []
    if control["paused"]:
        end = control["paused_until"]
        held.append("paused" + (f" until {_moment(end)}" if end else " until somebody resumes it"))
    if control["rate"] is not None:
        held.append(f"{plain(control['rate'])} in all workers together")
    if control["concurrency"] is not None:
        held.append(f"{control['concurrency']} at a time")
    return held


def _about(task: Json) -> str:
    if task["code"] is not None:
        tries = f" ({task['attempts']} tries)" if task["attempts"] else ""
        return f"{one_line(task['code'])}: {one_line(task['message'], 80)}{tries}"
    return one_line(task["model_version"], 60)


def _moment(text: str) -> str:
    """In the time of this machine."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

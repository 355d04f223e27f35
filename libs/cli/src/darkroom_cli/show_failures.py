"""Failures and replays as people read them in a terminal."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from darkroom_cli.client import Json
from darkroom_cli.show import one_line, plain

_SHORT: Final = 8

_RESULTS: Final = {
    "changed": "whole now",
    "failed_again": "failed again",
    "unanswered": "without an answer",
    "impossible": "whose bytes are gone",
    "settled": "whole already",
    "stopped": "not begun",
}

STEPS: Final = {
    "submitted": "handed in",
    "prepared": "taken in",
    "failed": "failed",
    "decided": "decided",
    "replay_asked": "another try asked for",
    "replayed": "tried again",
    "replay_ended": "that ended",
    "discarded": "discarded",
    "restored": "put back",
}


def print_inbox(found: Json, console: Console) -> None:
    """The groups, each with what helps; then letters, and what was laid aside."""
    if not found["groups"]:
        console.print("No photo failed.")
    for group in found["groups"]:
        trying = f", {group['replaying']:,} being tried again" if group["replaying"] else ""
        console.print(
            Text.assemble((f"{group['count']:,} × ", "bold red"), (plain(group["reason"]), "bold"))
        )
        console.print(
            f"  {group['stage']} {plain(group['code'])}, last {moment(group['last_at'])}{trying}",
            markup=False,
        )
        names = ", ".join(
            plain(one["file_name"] or one["photo_id"] or "?") for one in group["examples"]
        )
        more = " …" if group["count"] > len(group["examples"]) else ""
        console.print(f"  such as {one_line(names, 100)}{more}", style="dim", markup=False)
        console.print(Text.assemble(("  What helps: ", "green"), plain(group["cure"])))
        act = "replay" if group["replayable"] else "discard"
        command = f"darkroom failures {act} --stage {group['stage']} --code {group['code']}"
        console.print(f"  Then: {plain(command)}\n", markup=False)
    if found["discarded"]:
        console.print(f"{found['discarded']:,} discarded: darkroom failures list --state discarded")
    for group in found["letters"]:
        console.print(
            f"{group['count']:,} records of no photo ({plain(group['service'])}"
            f" {plain(group['code'])}): {plain(group['reason'])} See: {plain(group['command'])}",
            markup=False,
        )


def items_table(items: Sequence[Json]) -> Table:
    """Failures, one a line."""
    table = Table(box=SIMPLE_HEAD, header_style="bold")
    table.add_column("failure", no_wrap=True)
    for column in ("file", "failed", "state", "reason"):
        table.add_column(column, overflow="fold")
    for item in items:
        reason = item["discard"]["reason"] if item["discard"] else item["reason"]
        table.add_row(
            f"{item['failure_id'][:_SHORT]}…:{item['stage']}",
            escape(one_line(item["file_name"], 40)),
            moment(item["failed_at"]),
            item["state"],
            escape(one_line(reason, 80)),
        )
    return table


def item_table(item: Json) -> Table:
    """All that is known of one failure."""
    table = Table(show_header=False, box=None)
    rows = {
        "failure": item["failure_id"],
        "photo": f"{item['file_name'] or ''} ({item['photo_id'] or 'none'})",
        "reason": f"{item['reason']} ({item['code']})",
        "attempts": str(item["attempts"] or 1),
        "state": item["state"],
        "what helps": item["cure"],
    }
    for name, value in rows.items():
        table.add_row(name, Text(plain(value), overflow="fold"))
    for step in item["timeline"]:
        by = f" by {step['by']}" if step["by"] else ""
        detail = f": {step['detail']}" if step["detail"] else ""
        words = f"{STEPS.get(step['what'], step['what'])}{by}{detail}"
        table.add_row(moment(step["at"]), Text(plain(words), overflow="fold"))
    return table


def replays_table(found: Sequence[Json]) -> Table:
    """Replays, the newest first."""
    table = Table(box=SIMPLE_HEAD, header_style="bold")
    for column in ("replay", "asked", "by", "state", "came to"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(
            one["replay_id"],
            moment(one["asked_at"]),
            escape(plain(one["asked_by"])),
            one["state"],
            came_to(one),
        )
    return table


def came_to(replay: Json) -> str:
    """What a replay came to so far."""
    left = replay["waiting"] + replay["under_way"]
    told = [f"{replay[name]:,} {words}" for name, words in _RESULTS.items() if replay[name]]
    if left:
        told.append(f"{left:,} left")
    if replay["beyond"]:
        told.append(f"{replay['beyond']:,} more fit: replay again for them")
    return ", ".join(told) or "nothing was left to try"


class Bar:
    """Shows a replay's progress while it goes on; a context."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("tries again"), BarColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
        self._task = self._progress.add_task("")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, replay: Json) -> None:
        """Show where it stands."""
        left = replay["waiting"] + replay["under_way"]
        self._progress.update(
            self._task,
            total=replay["total"],
            completed=replay["total"] - left,
            description=came_to(replay),
        )


def all_well(replay: Json) -> bool:
    """Whether nothing that was tried is left as it was."""
    return not any(
        replay[name] for name in ("failed_again", "unanswered", "impossible", "stopped", "beyond")
    )


def failures(number: int) -> str:
    """A number of them."""
    return f"{number:,} failure{'' if number == 1 else 's'}"


def moment(text: str) -> str:
    """A time, in this machine's zone."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")

"""Watching an import until it has ended."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from darkroom_cli.client import Gateway, GatewayAwayError, Json

_POLL_S: Final = 0.3
_STALLED_S: Final = 300.0
"""An import that has not moved for so long is reported instead of watched for ever."""

_AWAY_S: Final = 60.0
"""So long the gateway may be away, as when it is started again, before watching ends."""


class StalledError(RuntimeError):
    """Nothing has moved for minutes."""


def follow(gateway: Gateway, batch_id: str, report: Callable[[Json], None]) -> Json:
    """Ask until the import is over, tell `report` each time; gives the last answer.

    Raises StalledError, GatewayError.
    """
    moved, last = time.monotonic(), None
    while True:
        batch = _standing(gateway, batch_id)
        report(batch)
        if batch["state"] == "completed":
            return batch
        standing = (batch["found"], batch["pending"], done(batch))
        if standing != last:
            moved, last = time.monotonic(), standing
        if time.monotonic() - moved > _STALLED_S:
            raise StalledError(
                f"the import has not moved for {_STALLED_S:.0f} s with {batch['pending']} photos "
                "pending; see `darkroom status` and `darkroom logs`"
            )
        time.sleep(_POLL_S)


def _standing(gateway: Gateway, batch_id: str) -> Json:
    """Where the import stands; waits for a gateway that is away for a moment."""
    deadline = time.monotonic() + _AWAY_S
    while True:
        try:
            return gateway.batch(batch_id)
        except GatewayAwayError as error:
            if time.monotonic() > deadline:
                raise GatewayAwayError(
                    f"{error}\nThe import {batch_id} goes on by itself when Darkroom is up again; "
                    "the page shows it, and so does importing the same again."
                ) from error
            time.sleep(_POLL_S)


def done(batch: Json) -> int:
    """Files that have their end."""
    return int(batch["duplicates"] + batch["rejected"] + batch["accepted"])


def follow_with_bar(gateway: Gateway, batch_id: str, console: Console) -> Json:
    """As `follow`, with a live progress bar."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
    )
    bar = Progress(*columns, console=console, expand=True, speed_estimate_period=120)
    below = Text(style="dim")
    task: TaskID = bar.add_task("importing", total=None)
    with Live(Group(bar, below), console=console, refresh_per_second=4):

        def report(batch: Json) -> None:
            bar.update(task, completed=done(batch), total=batch["expected"])
            below.plain = counts(batch)

        return follow(gateway, batch_id, report)


def counts(batch: Json) -> str:
    """One line of what became of the files so far."""
    return (
        f"{batch['auto_labeled']} auto-labelled, {batch['suggested']} suggested, "
        f"{batch['review']} to review, {batch['rejected']} rejected, "
        f"{batch['duplicates']} duplicate{'' if batch['duplicates'] == 1 else 's'}"
    )

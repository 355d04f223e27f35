"""Watching an import until it has ended."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from darkroom_cli.client import Gateway, Json

_POLL_S: Final = 0.3
_STALLED_S: Final = 300.0
"""An import that has not moved for so long is reported instead of watched for ever."""


class StalledError(RuntimeError):
    """Nothing has moved for minutes."""


def follow(gateway: Gateway, batch_id: str, report: Callable[[Json], None]) -> Json:
    """Ask until the import is over, tell `report` each time; gives the last answer.

    Raises StalledError, GatewayError.
    """
    moved, last = time.monotonic(), None
    while True:
        batch = gateway.batch(batch_id)
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
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    with Progress(*columns, console=console) as bar:
        task: TaskID = bar.add_task("importing", total=None, counts="")

        def report(batch: Json) -> None:
            bar.update(task, completed=done(batch), total=batch["expected"], counts=counts(batch))

        return follow(gateway, batch_id, report)


def counts(batch: Json) -> str:
    """One line of what became of the files so far."""
    return (
        f"{batch['auto_labeled']} auto-labelled, {batch['suggested']} suggested, "
        f"{batch['review']} to review, {batch['rejected']} rejected, "
        f"{batch['duplicates']} duplicate"
    )

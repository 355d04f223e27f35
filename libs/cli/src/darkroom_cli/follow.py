"""Watching an import until it is over."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from darkroom_cli import import_words
from darkroom_cli.client import Gateway, GatewayAwayError, Json
from darkroom_cli.import_words import OVER, counts, done, failures, pace, state, word

_POLL_S: Final = 0.3
_STALLED_S: Final = 300.0
"""An import that has not moved for so long is reported instead of watched for ever."""

_AWAY_S: Final = 60.0
"""So long the gateway may be away, as when it is started again, before watching ends."""

_LINE_S: Final = 10.0
"""Between two lines where there is no terminal."""

_REASONS: Final = 3


class StalledError(RuntimeError):
    """Nothing has moved for minutes."""


def follow(gateway: Gateway, batch_id: str, report: Callable[[Json], None]) -> Json:
    """Ask until the import is over, tell `report` each time; gives the last answer.

    A paused import is watched until somebody resumes or cancels it, one that waits for something
    until it goes on. Raises StalledError, GatewayError.
    """
    moved, last = time.monotonic(), None
    while True:
        batch = _standing(gateway, batch_id)
        report(batch)
        if batch["state"] in OVER:
            return batch
        standing = (batch["state"], batch["found"], batch["pending"], done(batch))
        if standing != last or batch["state"] == "paused" or batch["waits_for"]:
            moved, last = time.monotonic(), standing
        elif time.monotonic() - moved > _STALLED_S:
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


def watch(gateway: Gateway, batch_id: str, console: Console) -> Json:
    """As `follow`, with a live bar in a terminal and a line now and then elsewhere."""
    if console.is_terminal:
        return follow_with_bar(gateway, batch_id, console)
    return follow(gateway, batch_id, Lines(console))


def follow_with_bar(gateway: Gateway, batch_id: str, console: Console) -> Json:
    """As `follow`, with a live progress bar. It is full at the end, however that came."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[of]}"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=console, expand=True)
    below = Text(style="dim")
    task: TaskID = bar.add_task("importing", total=None, of="")
    with Live(Group(bar, below), console=console, refresh_per_second=4):

        def report(batch: Json) -> None:
            bar.update(task, **_bar(batch))
            below.plain = "\n".join(_below(batch))

        return follow(gateway, batch_id, report)


def _bar(batch: Json) -> Json:
    """What the bar shows; of an import without files it is full too."""
    over, known = batch["state"] in OVER, batch["expected"]
    total = None if known is None else max(1, known, done(batch))
    if over:
        total = max(1, batch["found"], done(batch))
    return {
        "description": word(batch),
        "completed": total if over else done(batch),
        "total": total,
        "of": f"{done(batch)}/{'?' if known is None else known}",
    }


def _below(batch: Json) -> list[str]:
    """The lines under the bar."""
    standing = state(batch) if batch["state"] == "paused" else pace(batch)
    told = [standing, counts(batch), *failures(batch["failures"], _REASONS)]
    return [line for line in told if line]


class Lines:
    """Tells where an import stands by whole lines: when its state changes, and now and then."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._told: tuple[str, str] = ("", "")
        self._at = float("-inf")

    def __call__(self, batch: Json) -> None:
        """Take the newest standing."""
        now, words = self._clock(), import_words.line(batch)
        moved = words != self._told[1] and now - self._at >= _LINE_S
        if batch["state"] != self._told[0] or moved:
            self._told, self._at = (batch["state"], words), now
            self._console.print(words, markup=False, highlight=False, soft_wrap=True)

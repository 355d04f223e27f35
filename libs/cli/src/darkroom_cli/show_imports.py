"""Imports as people read them in a terminal; names and texts are shown, never obeyed."""

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from darkroom_cli import show
from darkroom_cli.client import Json
from darkroom_cli.import_words import (
    OVER,
    counts,
    done,
    duration,
    failures,
    pace,
    reason,
    state,
    word,
)

FEW: Final = 100
"""Files of an import that are listed one by one when it is over; of more there are reports."""

_REASONS: Final = 10
_LABELS: Final = 15


def imports_table(batches: Sequence[Json]) -> Table:
    """A line for each import, the newest first."""
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    table.add_column("import", no_wrap=True)
    table.add_column("of", max_width=32)
    table.add_column("state")
    table.add_column("done", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column("")
    for batch in batches:
        took = f"took {duration(batch['elapsed_s'])}"
        table.add_row(
            batch["batch_id"][:8],
            # The column gives way, its words do not wrap.
            Text(show.one_line(batch["title"], 60), no_wrap=True, overflow="ellipsis"),
            Text(word(batch), style=_colour(batch)),
            f"{done(batch)}/{'?' if batch['expected'] is None else batch['expected']}",
            str(batch["rejected"]),
            took if batch["state"] in OVER else pace(batch),
        )
    return table


def _colour(batch: Json) -> str:
    return {"completed": "green", "cancelled": "dim", "completed_with_failures": "yellow"}.get(
        batch["state"], "cyan"
    )


def print_import(batch: Json, console: Console) -> None:
    """All that is known of an import but its files."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    all_files = "not counted yet" if batch["expected"] is None else batch["expected"]
    facts = [
        ("import", batch["batch_id"]),
        ("of", batch["title"]),
        ("from", "\n".join(batch["roots"])),
        ("state", state(batch)),
        ("files", f"{done(batch)} of {all_files} done, {batch['in_flight']} being analysed"),
        ("so", counts(batch)),
        ("failed", "\n".join(failures(batch["failures"], _REASONS))),
        ("pace", pace(batch)),
        ("took" if batch["state"] in OVER else "so far", duration(batch["elapsed_s"])),
    ]
    for name, value in facts:
        if value:
            table.add_row(name, Text(show.plain(str(value))))
    console.print(table)
    looked = batch["failures_of"]
    if looked and looked < batch["rejected"] + batch["partial"] - batch["repaired"]:
        console.print(f"Of the failures only the first {looked} were looked at; ", end="")
        console.print("`darkroom imports failures` has them all.", markup=False)


def failures_table(found: Json) -> Table:
    """Reasons, with the number of files and a few of their names."""
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    table.add_column("files", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold", min_width=30)
    table.add_column("code", no_wrap=True)
    table.add_column("such as", overflow="fold")
    for each in found["reasons"]:
        names = ", ".join(path.rpartition("/")[2] for path in each["paths"])
        table.add_row(str(each["count"]), Text(reason(each)), each["code"], Text(show.plain(names)))
    return table


def failed_files_table(files: Sequence[Json]) -> Table:
    """Failed files by index."""
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    table.add_column("file", overflow="fold")
    table.add_column("reason", overflow="fold")
    for each in files:
        table.add_row(Text(show.plain(each["path"])), Text(reason(each)))
    return table


def print_statistics(found: Json, console: Console) -> None:
    """Totals, labels and durations."""
    rate = "" if found["success_rate"] is None else f" ({show.percent(found['success_rate'])})"
    in_part = f", {found['partial']} of them in part" if found["partial"] else ""
    console.print(
        f"{found['total']} files: {found['success']} analysed{rate}{in_part}, "
        f"{found['failed']} failed, {found['duplicates']} duplicates, "
        f"{found['cancelled']} cancelled, {found['pending']} pending",
        soft_wrap=True,
    )
    pace_of_all = found["files_per_s"]
    if pace_of_all is not None:
        console.print(f"{pace_of_all:.1f} files/s over {duration(found['elapsed_s'])}")
    labels = Table(header_style="bold", box=SIMPLE_HEAD)
    for name in ("label", "photos", "auto", "suggested", "review"):
        labels.add_column(name, justify="left" if name == "label" else "right")
    for each in found["labels"][:_LABELS]:
        numbers = (each[name] for name in ("count", "auto_labeled", "suggested", "review"))
        labels.add_row(Text(show.plain(each["label"])), *map(str, numbers))
    further = len(found["labels"][_LABELS:]) + found["labels_left_out"]
    if found["labels"]:
        console.print(labels)
    if further:
        console.print(f"and {further} further labels")
    if found["durations"]:
        console.print(_durations(found["durations"]))


def _durations(found: Json) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    for name in ("time", "half within", "95 % within"):
        table.add_column(name, justify="left" if name == "time" else "right")
    for name, spread in sorted(found.items(), key=lambda each: each[0] != "total"):
        words = "from import to outcome" if name == "total" else name
        table.add_row(words, f"{spread['p50']:.0f} ms", f"{spread['p95']:.0f} ms")
    return table

"""Labels, examples and reviews as people read them in a terminal."""

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from darkroom_cli.client import Json
from darkroom_cli.show import one_line, percent, plain

_SOURCES: Final = ("person", "review", "folder", "auto")
_FEW: Final = 20


def sets_table(found: Sequence[Json]) -> Table:
    """A row for each set."""
    table = _table("set", "labels", "examples", "")
    for one in found:
        table.add_row(
            Text(plain(one["name"])),
            Text(one_line(", ".join(one["labels"]), 60)),
            str(one["examples"]),
            verdict(one),
        )
    return table


def set_table(found: Json) -> Table:
    """A row for each label of a set."""
    table = _table("label", "examples", *_SOURCES)
    for one in found["counts"]:
        label = one["label"]
        name = Text("(none of them)", style="dim") if label is None else Text(plain(label))
        table.add_row(name, str(one["examples"]), *(str(one[source]) for source in _SOURCES))
    return table


def verdict(found: Json) -> Text:
    """Whether a set's examples are enough."""
    said = found["verdict"]
    return Text(plain(said["sentence"]), style="green" if said["enough"] else "yellow")


def warning(found: Json) -> Text:
    """Why a set's model gives what is no label of it."""
    return Text(plain(found["warning"]), style="yellow")


def refused_table(files: Sequence[Json]) -> Table:
    """Files that are no examples, and why."""
    table = _table("file", "why not")
    for one in files[:_FEW]:
        table.add_row(Text(plain(one["path"])), Text(one_line(one["message"], 200)))
    if len(files) > _FEW:
        table.add_row(Text(f"and {len(files) - _FEW} more"), "")
    return table


def reviews_table(items: Sequence[Json], url: str) -> Table:
    """A row for each photo to look at."""
    table = _table("photo", "file", "", "what it may be", "look at it", "yours until")
    for one in items:
        labels = ", ".join(
            f"{one_line(each['name'], 40)}"
            f" {percent(each['confidence'], calibrated=one['calibrated'])}"
            for each in one["labels"][:3]
        )
        table.add_row(
            one["photo_id"],
            Text(one_line(one["file_name"], 40)),
            "audit" if one["audit"] else "",
            Text(labels or "nothing was found"),
            Text(url + (one["links"]["rendition"] or one["links"]["thumbnail"])),
            one["leased_until"][11:19],
        )
    return table


def waiting_table(found: Json) -> Table:
    """What waits, by suggested label."""
    table = _table("waiting", "outcome", "suggested label")
    for one in found["by_label"][:_FEW]:
        label = one["label"] or "(nothing)"
        table.add_row(f"{one['waiting']:,}", one["outcome"], Text(one_line(label, 60)))
    return table


def today_table(found: Json) -> Table:
    """Who answered what today."""
    kinds = ("answers", "confirm", "correct", "none", "skip")
    table = _table("who, today (UTC)", *kinds)
    for one in found["today"]:
        table.add_row(Text(plain(one["reviewer"])), *(str(one[kind]) for kind in kinds))
    return table


def answered(answer: Json) -> str:
    """An answer, in a few words."""
    label = f" {plain(answer['label'])}" if answer["label"] else ""
    return f"{answer['photo_id']}: {answer['answer']}{label}"


def _table(*columns: str) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

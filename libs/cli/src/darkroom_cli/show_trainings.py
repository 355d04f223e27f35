"""Trainings for people's eyes."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from darkroom_cli.client import Json
from darkroom_cli.show import one_line, percent, plain

_COLOURS: Final = {
    **{"published": "green", "candidate": "yellow", "not_enough": "yellow"},
    **{"failed": "red", "timed_out": "red"},
}
_FEW: Final = 20
_NONE: Final = "none"


def table(found: Sequence[Json]) -> Table:
    """A row for each request."""
    shown = Table("training", "model", "asked", "state", "accuracy", "", box=SIMPLE_HEAD)
    for one in found:
        shown.add_row(
            one["request_id"],
            Text(plain(one["model"])),
            f"{one['requested_at'][:16].replace('T', ' ')} by {one['reason']}",
            _state(one),
            accuracy(one),
            Text(one_line(standing(one), 80)),
        )
    return shown


def _state(one: Json) -> Text:
    return Text(one["state"].replace("_", " "), style=_COLOURS.get(one["state"], ""))


def accuracy(one: Json) -> str:
    """`92 % (85 to 96 %)`, empty while it is not known."""
    low, high = one["accuracy_low"], one["accuracy_high"]
    if one["accuracy"] is None:
        return ""
    interval = "" if low is None or high is None else f" ({low * 100:.0f} to {percent(high)})"
    return percent(one["accuracy"]) + interval


def standing(one: Json) -> str:
    """What a training does or waits for, or why it ended so."""
    if one["state"] == "running":
        return f"{one['step']}, {percent(one['done'] or 0.0)}, by {one['worker']}"
    if one["note"]:
        return str(one["note"])
    waits = {"requested": f"begins at {(one['due_at'] or '')[:16].replace('T', ' ')}"}
    return {**waits, "prepared": "waits for a trainer"}.get(one["state"], "")


def ended(one: Json) -> Iterator[Any]:
    """How a training ended, in a few lines."""
    yield Text.assemble(plain(one["model"]), ": ", _state(one))
    if one["note"]:
        yield plain(one["note"])
    if one["version"]:
        yield plain(f"{one['version']}, trained in {one['seconds'] or 0.0:.1f} s.")


def detail(one: Json) -> Iterator[Any]:
    """A training with its report."""
    yield table([one])
    if one["version"]:
        yield plain(f"Version {one['version']} of head:{one['model']}.")
    if labels := one["metrics"].get("by_label"):
        yield _by_label(labels)
    names = one["metrics"].get("labels")
    if names and one["metrics"].get("confusion"):
        yield _confusion([*names, _NONE], one["metrics"]["confusion"])
    if one["suspicious"]:
        yield _suspicious(one)
    if one["report_missing"]:
        yield plain(f"What it says of examples can't be had: {one['report_missing']}")


def _by_label(labels: Json) -> Table:
    shown = Table("label", "examples", "precision", "recall", box=SIMPLE_HEAD)
    for name, said in labels.items():
        shown.add_row(
            Text(plain(name)),
            str(said["examples"]),
            percent(said["precision"]),
            percent(said["recall"]),
        )
    return shown


def _confusion(names: Sequence[str], rows: Sequence[Sequence[int]]) -> Table:
    shown = Table("what it is ↓, is called →", *(plain(one) for one in names), box=SIMPLE_HEAD)
    for name, row in zip(names, rows, strict=False):
        shown.add_row(Text(plain(name)), *(str(one) if one else "·" for one in row))
    return shown


def suspicious(count: int) -> str:
    """How many examples are, in a sentence's beginning."""
    return "1 example is suspicious" if count == 1 else f"{count:,} examples are suspicious"


def _suspicious(one: Json) -> Table:
    shown = Table("example", "photo", "was taught as", "why", box=SIMPLE_HEAD)
    for each in one["suspicious"][:_FEW]:
        doubts = (one_line(f"{doubt['kind']}: {doubt['reason']}", 100) for doubt in each["doubts"])
        shown.add_row(
            Text(one_line(each["file_name"] or "", 40)),
            each["photo_id"],
            Text(_taught_as(each)),
            Text("\n".join(doubts)),
        )
    if one["suspicious_of"] > _FEW:
        shown.add_row(f"and {one['suspicious_of'] - _FEW} more", "", "", "")
    return shown


def _taught_as(each: Json) -> str:
    """An example's label, and what people did with it since."""
    label = plain(each["label"] or _NONE) if each["source"] else "?"
    if each["source"] == "auto":
        label += ", by Darkroom itself"
    if each["since"] == "removed":
        return f"{label}; removed since"
    if each["since"] == "changed":
        return f"{label}; {plain(each['label_now'] or _NONE)} since"
    return label

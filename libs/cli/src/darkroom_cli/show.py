"""Photos and imports as people read them in a terminal.

Names and texts come from files and photos of any origin: they are shown, never obeyed.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from darkroom_cli.client import Json

OUTCOMES: Final = {
    "auto_labeled": ("auto-labelled", "green"),
    "suggested": ("suggested", "yellow"),
    "review": ("to review", "magenta"),
}


MOST_OBJECTS: Final = 10
"""Boxes of a photo that are shown, the surest; --json has all."""

LEAST_HITS: Final = 3
"""Search results that are always shown."""

_GAP: Final = 0.12
"""Of the best score: a smaller step between neighbours is no gap. As on the page."""


def plain(text: str) -> str:
    """Text whose control characters, and those that turn its direction, are written out."""
    return "".join(one if _harmless(one) else ascii(one)[1:-1] for one in text)


def _harmless(one: str) -> bool:
    return one == "\n" or unicodedata.category(one) not in ("Cc", "Cf", "Cs")


def percent(confidence: float | None, *, calibrated: bool = True) -> str:
    """`86 %`, `≈ 86 %` where it is uncalibrated, empty for None."""
    if confidence is None:
        return ""
    return f"{'' if calibrated else '≈ '}{confidence:.0%}".replace("%", " %")


def one_line(text: str | None, width: int = 36) -> str:
    """Text on one line, cut with an ellipsis."""
    flat = plain(" ".join((text or "").split()))
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def outcome_of(photo: Json) -> Text:
    """The outcome in words and colour."""
    words, colour = OUTCOMES.get(photo["outcome"], (photo["status"], "dim"))
    return Text(words + (" (partial)" if photo["partial"] else ""), style=colour)


def labels_of(photo: Json, count: int = 2, *, calibrated: bool = True) -> str:
    """The best labels with their confidence."""
    best = photo["labels"][:count]
    return plain(", ".join(_sure(one, calibrated=calibrated) for one in best))


def _sure(found: Json, *, calibrated: bool) -> str:
    """A name and its confidence."""
    return f"{found['name']} {percent(found['confidence'], calibrated=calibrated)}"


def _objects(photo: Json) -> Iterator[str]:
    """A line for each thing and its box in pixels; nothing calibrates their confidences."""
    every = photo["objects"]
    for one in every[:MOST_OBJECTS]:
        yield f"{_sure(one, calibrated=False)}{_box(one, photo['width'], photo['height'])}"
    if len(every) > MOST_OBJECTS:
        yield f"and {len(every) - MOST_OBJECTS} more"


def _box(one: Json, width: int | None, height: int | None) -> str:
    """Its size, and where its top left corner is; empty where the photo's size is not known."""
    if not width or not height:
        return ""
    left, top = round(one["x"] * width), round(one["y"] * height)
    right = round((one["x"] + one["width"]) * width)
    bottom = round((one["y"] + one["height"]) * height)
    return f" · {right - left} × {bottom - top} at {left}, {top}"


def items_table(items: list[Json], title: str) -> Table:
    """What became of each file of an import."""
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("file", no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column("outcome", no_wrap=True)
    table.add_column("found", overflow="fold")
    for item in items:
        table.add_row(_name(item["path"]), *_found(item))
    return table


def hits_table(hits: Sequence[Json]) -> Table:
    """Search results."""
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    table.add_column("score", no_wrap=True, min_width=5)
    table.add_column("file", no_wrap=True, overflow="ellipsis", max_width=24)
    table.add_column("found", overflow="fold", min_width=36)
    for hit in hits:
        photo = hit["photo"]
        found = Text.assemble(outcome_of(photo), f" · {labels_of(photo, 1)}", _written(photo))
        found.append(f"\n{photo['photo_id']}", style="dim")
        table.add_row(f"{hit['score']:.2f}", _name(photo["file_name"] or ""), found)
    return table


def strong(scores: Sequence[float]) -> int:
    """How many of these scores, best first, lie before the largest gap between neighbours."""
    widest, cut = _GAP * (scores[0] if scores else 0), len(scores)
    for at in range(LEAST_HITS, len(scores)):
        gap = scores[at - 1] - scores[at]
        if gap > widest:
            widest, cut = gap, at
    return cut


def _name(path: str) -> Text:
    return Text(one_line(path.rpartition("/")[2], 60))


def _written(photo: Json) -> Text:
    return Text(f"\n“{one_line(photo['text'])}”" if photo["text"] else "", style="dim")


def _found(item: Json) -> tuple[Text, Text]:
    """The outcome, and what led to it."""
    if item["photo"] is not None:
        photo = item["photo"]
        return outcome_of(photo), Text.assemble(labels_of(photo), _written(photo))
    if item["status"] == "duplicate":
        same = item["duplicate_of_path"] or item["duplicate_of"]
        return Text("duplicate", style="cyan"), Text.assemble("same as ", _name(str(same)))
    if item["error"] is not None:
        return Text("rejected", style="red"), Text(plain(item["error"]["message"]))
    return Text(item["status"], style="dim"), Text()


def photo_table(photo: Json) -> Table:
    """All that is known of a photo."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _facts(photo):
        if value:
            table.add_row(name, value if isinstance(value, Text) else Text(plain(value)))
    return table


def _own_labels(photo: Json) -> str:
    """The user's own labels, with whose version says so."""
    return "\n".join(
        f"{_sure(one, calibrated=False)} ({one['version']} of {one['set']})"
        for one in photo["own_labels"]
    )


def _facts(photo: Json) -> list[tuple[str, Text | str]]:
    error, unsure = photo["error"], photo["calibrated"] is False
    stages = ", ".join(
        f"{name} {stage['ms']:.0f} ms ({stage['engine']})"
        for name, stage in photo["stages"].items()
    )
    return [
        ("photo", photo["photo_id"]),
        ("file", photo["file_name"] or ""),
        ("outcome", outcome_of(photo)),
        ("because", photo["reason"] or ""),
        ("rejected", error["message"] if error else ""),
        ("category", photo["category"] or ""),
        ("labels", labels_of(photo, 5, calibrated=not unsure)),
        ("yours", _own_labels(photo)),
        ("objects", "\n".join(_objects(photo))),
        ("≈", "uncalibrated: the model's own estimate" if unsure or photo["objects"] else ""),
        ("text", photo["text"] or ""),
        ("taken", " ".join(filter(None, (photo["taken_at"], photo["camera_model"])))),
        ("size", f"{photo['width']} × {photo['height']}" if photo["width"] else ""),
        ("stages", stages),
    ]

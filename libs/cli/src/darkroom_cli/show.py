"""Photos and imports as people read them in a terminal."""

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


def percent(confidence: float | None) -> str:
    """`86 %`, empty for None."""
    return "" if confidence is None else f"{confidence:.0%}".replace("%", " %")


def one_line(text: str | None, width: int = 36) -> str:
    """Text on one line, cut with an ellipsis."""
    flat = " ".join((text or "").split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def outcome_of(photo: Json) -> Text:
    """The outcome in words and colour."""
    words, colour = OUTCOMES.get(photo["outcome"], (photo["status"], "dim"))
    return Text(words + (" (partial)" if photo["partial"] else ""), style=colour)


def labels_of(photo: Json, count: int = 2) -> str:
    """The best labels with their confidence."""
    return ", ".join(
        f"{one['name']} {percent(one['confidence'])}" for one in photo["labels"][:count]
    )


def items_table(items: list[Json], title: str) -> Table:
    """What became of each file of an import."""
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("file", no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column("outcome", no_wrap=True)
    table.add_column("found", overflow="fold")
    for item in items:
        table.add_row(_name(item), *_found(item))
    return table


def _name(item: Json) -> str:
    return str(item["path"]).rpartition("/")[2]


def _found(item: Json) -> tuple[Text, Text]:
    """The outcome, and what led to it."""
    if item["photo"] is not None:
        photo = item["photo"]
        written = f"\n“{one_line(photo['text'])}”" if photo["text"] else ""
        return outcome_of(photo), Text(labels_of(photo)).append(written, style="dim")
    if item["status"] == "duplicate":
        same = item["duplicate_of_path"] or item["duplicate_of"]
        return Text("duplicate", style="cyan"), Text(f"same as {str(same).rpartition('/')[2]}")
    if item["error"] is not None:
        return Text("rejected", style="red"), Text(item["error"]["message"])
    return Text(item["status"], style="dim"), Text()


def photo_table(photo: Json) -> Table:
    """All that is known of a photo."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _facts(photo):
        if value:
            table.add_row(name, value)
    return table


def _facts(photo: Json) -> list[tuple[str, Text | str]]:
    error = photo["error"]
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
        ("labels", labels_of(photo, 5)),
        ("text", photo["text"] or ""),
        ("taken", " ".join(filter(None, (photo["taken_at"], photo["camera_model"])))),
        ("size", f"{photo['width']} × {photo['height']}" if photo["width"] else ""),
        ("stages", stages),
    ]

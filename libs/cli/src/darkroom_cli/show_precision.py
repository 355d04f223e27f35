"""How often labels are right, and the thresholds that follow, as people read them in a terminal."""

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from darkroom_cli.client import Json
from darkroom_cli.show import one_line, percent, plain

_SHORT: Final = {"auto_labeled": "auto", "suggested": "suggested", "review": "review"}


def precision_table(found: Json) -> Table:
    """A row for each label."""
    table = _table("label", "given without asking", "", "suggested", "")
    total = {"label": "(all)", "audits": found["audits"], "asked": None}
    for one in (*found["items"], *([total] if len(found["items"]) > 1 else [])):
        table.add_row(
            Text(one_line(one["label"], 40)),
            *_measured(one["audits"], "audits"),
            *(_measured(one["asked"], "answers") if one["asked"] else ("", "")),
        )
    return table


def bands_table(label: Json) -> Table:
    """A row for each band of a label's confidence."""
    table = _table("confidence", "given without asking", "", "suggested", "")
    for one in label["bands"]:
        table.add_row(
            f"{one['least']:.2f} - {one['below']:.2f}",
            *_measured(one["audits"], "audits"),
            *_measured(one["asked"], "answers"),
        )
    return table


def suggestions_table(found: Json) -> Table:
    """A row for each label."""
    table = _table("label", "answers", "above, now", "above, suggested", "right", "")
    for one in found["items"]:
        now = one["now"]
        new = one["thresholds"]
        right = one["precision"]
        table.add_row(
            Text(one_line(one["label"], 40)),
            f"{one['answers']:,}",
            f"{now['auto_above']:g}" if now else "?",
            Text(f"{new['auto_above']:g}", style="green") if new else "",
            "" if right is None else f"{percent(right)} (at least {percent(one['low'])})",
            _why(one),
        )
    return table


def changes_table(items: Sequence[Json]) -> Table:
    """What would become of the photos that are shown: a row for each label and change."""
    table = _table("label", "photos", "now", "would be", "such as")
    for one in items:
        for change in one["changes"]:
            if change["now"] == change["then"]:
                continue
            table.add_row(
                Text(one_line(one["label"], 40)),
                *(f"{change['photos']:,}", _SHORT[change["now"]], _SHORT[change["then"]]),
                change["samples"][0]["photo_id"] if change["samples"] else "",
            )
    return table


def _why(one: Json) -> Text:
    missing = one["missing"]
    if one["state"] == "suggested":
        moved = sum(each["photos"] for each in one["changes"] if each["now"] != each["then"])
        return Text(f"{moved:,} photos would change")
    if one["state"] == "too_few_answers":
        return Text(f"{missing} more answers are needed", style="yellow")
    more = "" if missing is None else f"; {missing:,} more right answers would do"
    return Text(f"not certain to be right often enough{more}", style="yellow")


def _measured(one: Json, what: str) -> tuple[str, str]:
    if not one["answers"]:
        return "", ""
    said = f"{percent(one['precision'])} of {one['answers']:,} {what}"
    return said, plain(f"{percent(one['low'])} - {percent(one['high'])}")


def _table(*columns: str) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

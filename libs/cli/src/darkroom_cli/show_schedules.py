"""Schedules, sources and their runs as people read them in a terminal. Times are in UTC."""

from collections.abc import Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from darkroom_cli.client import Json
from darkroom_cli.show import one_line, plain

_COLOURS: Final = {"done": "green", "failed": "red", "running": "cyan"}

_COUNTS: Final = {
    "new": "new",
    "changed": "changed",
    "unchanged": "as they were",
    "unsettled": "still written to",
    "gone": "gone",
    "returned": "back again",
}


def schedules_table(found: Sequence[Json]) -> Table:
    """Jobs, when they run and how that went last."""
    table = _table("job", "when (UTC)", "next (UTC)", "last", "came to")
    for job in found:
        table.add_row(plain(job["name"]), _when(job), next_of(job), *_last(job))
    return table


def runs_table(found: Sequence[Json]) -> Table:
    """Runs, the newest first."""
    table = _table("began (UTC)", "why", "seconds", "state", "came to")
    for run in found:
        why = run["reason"].replace("_", " ") if run["reason"] != "person" else run["asked_by"]
        seconds = "" if run["seconds"] is None else f"{run['seconds']:g}"
        table.add_row(
            moment(run["started_at"]), plain(why or ""), seconds, state_of(run), _came(run)
        )
    return table


def sources_table(found: Sequence[Json]) -> Table:
    """Sources, what they hold and how they were looked through last."""
    table = _table("source", "place", "files", "when (UTC)", "last", "came to")
    for source in found:
        job = source["job"]
        files = f"{source['files']}" + (f" ({source['gone']} gone)" if source["gone"] else "")
        place = Text(plain(source["place"]), overflow="fold")
        table.add_row(plain(source["name"]), place, files, _when(job), *_last(job))
    return table


def source_table(source: Json) -> Table:
    """All that is known of a source."""
    table = Table(show_header=False, box=None)
    job = source["job"]
    rows = {
        "source": source["name"],
        "place": source["place"],
        "include": ", ".join(source["include"]) or "all",
        "exclude": ", ".join(source["exclude"]) or "nothing",
        "hidden names": "taken" if source["hidden"] else "left out",
        "lane": source["lane"],
        "files that vanish": "told" if source["deletions"] == "report" else "told and forgotten",
        "holds": f"{source['files']} files; {source['gone']} are gone",
        "when (UTC)": f"{_when(job)}" + (f" ({job['words']})" if job["words"] else ""),
        "next (UTC)": next_of(job),
    }
    for name, value in rows.items():
        table.add_row(name, plain(value))
    if job["last_run"]:
        last = job["last_run"]
        began = Text(f"{moment(last['started_at'])} ")
        table.add_row("last look", began.append(state_of(last)).append(f" {_came(last)}"))
    return table


def sentence(run: Json) -> str:
    """What a run came to, in one line."""
    return f"{run['job']}: {run['state']}" + (f": {came}" if (came := _came(run)) else "")


def state_of(run: Json) -> Text:
    """The state in its colour."""
    return Text(run["state"], style=_COLOURS.get(run["state"], "yellow"))


def next_of(job: Json) -> str:
    """When it runs next."""
    if job["asked_at"]:
        return "now"
    return moment(job["next_at"]) if job["next_at"] else "-"


def moment(text: str) -> str:
    """`2026-11-29 03:10:00`."""
    return text[:19].replace("T", " ")


def _when(job: Json) -> str:
    if not job["enabled"]:
        return "disabled"
    return str(job["schedule"] or "by hand")


def _last(job: Json) -> tuple[str | Text, str]:
    run = job["last_run"]
    return (state_of(run), _came(run)) if run else ("never", "")


def _came(run: Json) -> str:
    if run["error"]:
        return plain(" ".join(run["error"].split()))
    report: Json = run["report"]
    if run["job"].startswith("sync:"):
        told = [f"{report[key]} {words}" for key, words in _COUNTS.items() if report.get(key)]
        if report.get("troubles"):
            told.append(f"{len(report['troubles'])} could not be looked at")
        if report.get("batch_id"):
            told.append(f"import {report['batch_id'][:8]}")
    else:
        told = [
            f"{value:g} {key.replace('_', ' ')}" for key, value in report.items() if _counts(value)
        ]
    if report.get("missed") and run["job"].startswith("sync:"):
        told.append(f"missed {report['missed']}")
    return one_line(", ".join(told), 100)


def _counts(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(value)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

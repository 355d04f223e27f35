"""Workers, stages and their history as people read them in a terminal."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from darkroom_cli.client import Json
from darkroom_cli.show import one_line, plain
from darkroom_cli.show_failures import moment

_STYLES: Final = {"working": "green", "starting": "yellow", "stopping": "yellow", "gone": "dim"}
_BARS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = " "
_FIGURES: Final = 34


def workers_table(found: Sequence[Json]) -> Table:
    """A row for each worker."""
    table = _table("worker", "=state", "has", ">in hand", ">cpu", ">memory", ">heard")
    for one in found:
        state = "missing" if one["missing"] else one["state"]
        table.add_row(
            escape(plain(one["worker"])),
            f"[{_STYLES.get(state, 'red')}]{escape(plain(state))}[/]",
            escape(", ".join(_has(one)) or "-"),
            f"{sum(lane['in_engine'] for lane in one['lanes']):,}",
            share(one["cpu"]),
            f"{size(one['memory_bytes'])} ({share(one['memory'])})",
            f"{age(one['silent_s'])} ago",
        )
    return table


def _has(worker: Json) -> Iterator[str]:
    """Its lanes, with how many partitions of each it has."""
    for lane in worker["lanes"]:
        paused = " paused" if lane["paused"] else ""
        yield f"{plain(lane['lane'])} {len(lane['partitions'])}{paused}"


def missing(found: Sequence[Json]) -> Iterator[str]:
    """A sentence for each worker that is missing."""
    for one in found:
        if one["missing"]:
            yield (
                f"{plain(one['worker'])} is missing: it said something every {one['every_s']:g} s,"
                f" and nothing for {age(one['silent_s'])}. It did not say that it goes."
            )


def print_worker(one: Json, console: Console) -> None:
    """All of a worker."""
    facts = {
        "worker": one["worker"],
        "service": f"{one['service']} {one['version']}",
        "where": f"{one['host']}, process {one['pid']}",
        "state": one["state"],
        "since": moment(one["started_at"]),
        "heard": f"{age(one['silent_s'])} ago, {moment(one['seen_at'])}",
        "CPU": f"{share(one['cpu'])} in use there, {one['cpu_cores']:.1f} cores by itself",
        "memory": f"{share(one['memory'])} in use there, {size(one['memory_bytes'])} by itself",
    }
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in facts.items():
        table.add_row(name, Text(plain(value), overflow="fold"))
    console.print(table)
    for line in missing([one]):
        console.print(line, style="red", markup=False)
    if one["lanes"]:
        console.print(_lanes_table(one["lanes"]))
    console.print(_work_table(one) if one["work"] else "Its engines have nothing in hand.")


def _lanes_table(lanes: Sequence[Json]) -> Table:
    table = _table("lane", "partitions", ">waiting", ">in hand", ">done", ">failed", "limits")
    for lane in lanes:
        table.add_row(
            escape(plain(lane["lane"])),
            escape(", ".join(_partitions(lane["partitions"])) or "-"),
            *(f"{lane[name]:,}" for name in ("waiting", "in_engine", "done", "failed")),
            limits(lane),
        )
    return table


def _partitions(held: Sequence[Json]) -> Iterator[str]:
    """Each topic with the numbers of its partitions."""
    numbers: dict[str, list[int]] = {}
    for one in held:
        numbers.setdefault(one["topic"], []).append(one["partition"])
    for topic, each in numbers.items():
        yield f"{plain(topic)} {' '.join(map(str, sorted(each)))}"


def limits(lane: Json) -> str:
    """What holds a lane back, in words."""
    told = ["paused"] if lane["paused"] else []
    told += [f"{lane['rate']:g}/s in all"] if lane["rate"] is not None else []
    told += [f"{lane['concurrency']} at a time"] if lane["concurrency"] is not None else []
    return ", ".join(told) or "-"


def _work_table(one: Json) -> Table:
    table = _table("engine", "lane", "record", "key", ">attempt", "since")
    for task in one["work"]:
        table.add_row(
            escape(plain(task["engine"])),
            escape(plain(task["lane"])),
            escape(plain(f"{task['topic']}/{task['partition']}/{task['offset']}")),
            escape(one_line(task["key"], 40)),
            str(task["attempt"]),
            moment(task["since"]),
        )
    return table


def print_stages(found: Json, console: Console) -> None:
    """What waits for whom, and what was last measured."""
    measured = (">waiting", ">per s", ">oldest", ">in hand", ">retries", ">dead")
    table = _table("=service", "=lane", *measured, "limits")
    for service in found["services"]:
        for row in _rows(service):
            table.add_row(*row)
    console.print(table)
    for service in found["services"]:
        if not service["workers"]:
            lost = f", {service['missing']} missing" if service["missing"] else ""
            console.print(f"{plain(service['name'])}: no worker{lost}", style="red", markup=False)
    console.print(f"{found['per_s']:.1f} photos a second are done, of the last minute.")
    if found["measured_at"] is None:
        console.print("What waits was never measured: is the control door running?", style="yellow")
    else:
        console.print(f"What waits was measured {moment(found['measured_at'])}.", style="dim")


def _rows(service: Json) -> Iterator[tuple[str, ...]]:
    """A row for each lane; what is of the whole service stands in the first."""
    again = ", ".join(f"{lane} {count:,}" for lane, count in service["retries"].items() if count)
    letters = f"{service['dead_letters']:,}" if service["dead_letters"] else "-"
    whole = (escape(plain(service["name"])), again or "-", letters)
    for lane in service["lanes"]:
        name, retries, dead = whole
        measured = (
            escape(plain(lane["lane"])),
            _known(lane["waiting"], "{:,}"),
            _known(lane["per_s"], "{:.1f}"),
            age(lane["oldest_s"]) if lane["oldest_s"] else "-",
            f"{lane['in_engine']:,}",
        )
        yield (name, *measured, retries, dead, limits(lane))
        whole = ("", "", "")
    if not service["lanes"]:
        name, retries, dead = whole
        yield (name, *["-"] * 5, retries, dead, "-")


def _known(number: float | None, form: str) -> str:
    return "?" if number is None else form.format(number)


def points(names: Sequence[str], width: int) -> int:
    """How many stand in a line beside these names and the figures."""
    return max(10, width - max(len(name) for name in names) - _FIGURES)


def print_history(found: Json, console: Console) -> None:
    """A line for each series: a plot, and its least, highest and last value."""
    table = _table("series", "plot", ">least", ">highest", ">last")
    for name, values in found["series"].items():
        known = [value for value in values if value is not None]
        if known:
            told = [number(value) for value in (min(known), max(known), known[-1])]
        else:
            told = ["-"] * 3
        table.add_row(escape(plain(name)), Text(spark(values), no_wrap=True), *told)
    console.print(table)
    console.print(
        f"{moment(found['since'])} to {moment(found['until'])}, {found['step_s']} s a point.",
        style="dim",
    )


def spark(values: Sequence[float | None]) -> str:
    """A line of bars from 0 to the highest; nothing where nothing was measured."""
    highest = max((value for value in values if value is not None), default=0)
    return "".join(_GAP if value is None else _bar(value, highest) for value in values)


def _bar(value: float, highest: float) -> str:
    if highest <= 0:
        return _BARS[0]
    return _BARS[min(len(_BARS) - 1, int(value / highest * len(_BARS)))]


def number(value: float) -> str:
    """Short, with three digits or more."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def share(value: float) -> str:
    """`86 %`."""
    return f"{value:.0%}".replace("%", " %")


def size(count: int) -> str:
    """Bytes, in MB or GB."""
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def age(seconds: float) -> str:
    """A length of time, in one unit."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _table(*columns: str) -> Table:
    """A table with these columns. `>` in front of a name puts it to the right, `=` to the left;
    what stands in either is never cut into lines."""
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, collapse_padding=True)
    for column in columns:
        name = column.lstrip(">=")
        justify: JustifyMethod = "right" if column.startswith(">") else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name != column)
    return table

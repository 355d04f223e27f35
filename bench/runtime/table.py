"""The result for people. Pure but for writing to the console it is given."""

from collections.abc import Iterator, Mapping, Sequence

from bench.runtime.report import Limit
from bench.runtime.results import Found
from bench.runtime.stats import median
from rich.console import Console
from rich.table import Table


def tell(found: Found, limits: Sequence[Limit], console: Console) -> None:
    """Tables of all parts that were measured, then the limits."""
    for wanted, made in (
        (found.fanout, _fanout),
        (found.stage, _stage),
        (found.latency, _latency),
    ):
        for block in made(found) if wanted else ():
            console.print(block, highlight=False, soft_wrap=isinstance(block, str))
    console.print()
    for limit in limits:
        console.print(verdict(limit), highlight=False)


def verdict(limit: Limit) -> str:
    """A limit as a line."""
    aim = "" if limit.aim is None else f", aim {limit.aim:g}"
    wanted = f"at {limit.kind} {limit.bound:g}{aim}"
    if limit.value is None:
        return f"        {limit.figure}: not measured ({wanted})"
    word = "[green]ok[/]    " if limit.ok else "[red]MISSED[/]"
    return f"{word}  {limit.figure}: {limit.value:.2f} ({wanted})"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _fanout(found: Found) -> Iterator[Table | str]:
    columns = ("system", "photos/s", "rounds", "spread", "ms CPU/photo", "cores")
    table = _table("\n(a) Fan-out: three stages and their join", *columns)
    notes = []
    for name, one in found.fanout.items():
        rates = [each.photos_per_s for each in one.rounds]
        middle = one.rounds[_middle(rates)]
        used = sum(middle.cpu_ms.values())
        table.add_row(*_row(name, rates, one.spread), f"{used:.2f}", f"{middle.cores:.2f}")
        notes.append(f"    {name}: {one.about}; ms of CPU: {_listed(middle.cpu_ms, 2)}")
    return iter((table, *notes))


def _stage(found: Found) -> Iterator[Table | str]:
    columns = ("worker", "records/s", "rounds", "spread", "µs CPU/record", "cores")
    table = _table("\n(b) One stage and a bare loop", *columns)
    notes = []
    for name, one in found.stage.items():
        rates = [each.records_per_s for each in one.rounds]
        middle = one.rounds[_middle(rates)]
        used = sum(middle.cpu_us.values())
        table.add_row(*_row(name, rates, one.spread), f"{used:.1f}", f"{middle.cores:.2f}")
        notes.append(f"    {name}: {one.about}; µs of CPU: {_listed(middle.cpu_us, 1)}")
    if found.cpu_us_by_part:
        parts = _listed(found.cpu_us_by_part, 1)
        notes.append(f"    each part of a stage's work on its own, µs of CPU: {parts}")
    return iter((table, *notes))


def _row(name: str, rates: Sequence[float], apart: float) -> Iterator[str]:
    told = " ".join(f"{rate:.0f}" for rate in rates)
    return iter((name, f"{median(rates):.0f}", told, f"{apart:.0%}"))


def _middle(rates: Sequence[float]) -> int:
    """Which round is the median one."""
    return sorted(range(len(rates)), key=lambda one: rates[one])[len(rates) // 2]


def _latency(found: Found) -> Iterator[Table]:
    columns = ("system", "idle p50", "idle p95", "loaded p50", "loaded p95", "ratio", "left")
    table = _table("\n(c) Urgent records, idle and beside a backlog (ms)", *columns)
    for name, one in found.latency.items():
        table.add_row(
            name,
            *(f"{ms:.1f}" for ms in (one.idle.p50_ms, one.idle.p95_ms)),
            *(f"{ms:.1f}" for ms in (one.loaded.p50_ms, one.loaded.p95_ms)),
            f"{one.p95_ratio:.2f}",
            str(one.backlog_left),
        )
    yield table


def _listed(used: Mapping[str, float], digits: int) -> str:
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in used.items())

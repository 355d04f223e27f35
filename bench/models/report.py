"""The figures that matter, whether they are as they must be, and how people see them. Pure but for
writing to the console it is given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from bench.models.accuracy import Accuracy, Texts
from bench.models.people import People
from bench.models.pipeline import Imported
from bench.models.run import Found
from bench.models.script import Ran
from bench.models.speed import Speeds
from bench.models.versus import CLASSES, Versus
from bench.runtime.report import Limit
from bench.runtime.table import verdict
from rich.console import Console
from rich.table import Table

LIMITS: Final = (
    Limit("text_vs_easyocr_with_text", "least", 3.5, None),
    Limit("text_vs_easyocr_without", "least", 12.0, None),
    Limit("text_cer_less_easyocr_cer", "most", 0.0, None),
    Limit("pipeline_over_script", "most", 1.2, None),
    Limit("single_p95_loaded_over_idle", "most", 2.0, None),
    Limit("single_p50_loaded_over_idle", "most", 1.5, None),
    Limit("singles_beside_document", "least", 1.0, None),
)


def figures(found: Found) -> dict[str, float]:
    """The figures by their names; only those of the parts that were measured."""
    values: dict[str, float] = {}
    if found.accuracy is not None:
        values |= _right(found.accuracy)
    if found.versus is not None:
        values |= _beside(found.versus)
    if found.imported is not None:
        values |= _whole(found.imported, found.scripts)
    if found.people is not None:
        values |= _people(found.people)
    return values


def judged(values: Mapping[str, float]) -> Sequence[Limit]:
    """The limits with the figures that they are about."""
    return [
        Limit(one.figure, one.kind, one.bound, one.aim, values.get(one.figure)) for one in LIMITS
    ]


def as_json(found: Found, about: Mapping[str, Any]) -> dict[str, Any]:
    """The whole result: figures on top, then limits, then what they are made of, then `about`."""
    values = figures(found)
    parts = {name: value for name, value in asdict(found).items() if value}
    return {
        **{name: round(value, 4) for name, value in values.items()},
        "limits": [{**asdict(one), "ok": one.ok} for one in judged(values)],
        **parts,
        **about,
    }


def tell(found: Found, console: Console) -> None:
    """A table for each part, then the limits."""
    for table in _tables(found):
        console.print(table, highlight=False)
    console.print()
    for limit in judged(figures(found)):
        console.print(verdict(limit), highlight=False)


def _right(found: Accuracy) -> dict[str, float]:
    lines, pages = found.lines, found.pages
    return {
        "text_cer": lines.ours.value,
        "text_cer_low": lines.ours.low,
        "text_cer_high": lines.ours.high,
        "easyocr_cer": lines.stock.value,
        "easyocr_cer_low": lines.stock.low,
        "easyocr_cer_high": lines.stock.high,
        "text_cer_less_easyocr_cer": lines.difference.value,
        "text_page_cer": pages.ours.value,
        "easyocr_page_cer": pages.stock.value,
        "labels_top1": found.top1,
        "labels_top5": found.top5,
    }


def _beside(found: Versus) -> dict[str, float]:
    ours, theirs = found.error_rates
    return {
        "text_vs_easyocr_with_text": found.times_as_fast("with text"),
        "text_vs_easyocr_without": found.times_as_fast("without"),
        "text_photos_per_s_with_text": found.ours["with text"].photos_per_s,
        "text_photos_per_s_without": found.ours["without"].photos_per_s,
        "text_photo_cer": ours,
        "easyocr_photo_cer": theirs,
    }


def _whole(found: Imported, scripts: Sequence[Ran]) -> dict[str, float]:
    best = min(one.took_s for one in scripts)
    return {
        "pipeline_seconds": found.took_s,
        "script_seconds": best,
        "pipeline_over_script": found.took_s / best,
        "pipeline_photos_per_s": found.photos / found.took_s,
        "pipeline_cpu_ms_per_photo": sum(found.cpu_ms.values()),
        "script_cpu_ms_per_photo": 1000 * min(one.cpu_s for one in scripts) / found.photos,
    }


def _people(found: People) -> dict[str, float]:
    idle, loaded = found.idle, found.loaded
    return {
        "single_p50_idle_ms": idle.p50_ms,
        "single_p95_idle_ms": idle.p95_ms,
        "single_p50_loaded_ms": loaded.p50_ms,
        "single_p95_loaded_ms": loaded.p95_ms,
        "single_p50_loaded_over_idle": loaded.p50_ms / idle.p50_ms,
        "single_p95_loaded_over_idle": loaded.p95_ms / idle.p95_ms,
        "singles_beside_document": float(found.beside_document),
    }


def _tables(found: Found) -> Iterator[Table]:
    if found.speeds is not None:
        yield _of_speeds(found.speeds)
    if found.accuracy is not None:
        yield _of_accuracy(found.accuracy)
    if found.versus is not None:
        yield _of_versus(found.versus)
    if found.imported is not None:
        yield _of_whole(found.imported, found.scripts)
    if found.people is not None:
        yield _of_people(found.people)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _of_speeds(found: Speeds) -> Table:
    columns = ("engine", "threads", "batch", "photos/s", "p50 ms", "p95 ms", "MB", "loads s")
    table = _table("Engines, each in a process of its own; times are of a batch", *columns)
    for one in found.measured:
        table.add_row(
            f"{one.stage} {one.engine}",
            str(one.threads),
            f"{one.batch}{' chosen' if one.chosen else ''}",
            f"{one.photos_per_s:.1f}",
            f"{one.p50_ms:.0f}",
            f"{one.p95_ms:.0f}",
            f"{one.memory_mb:.0f}",
            f"{one.load_s:.1f}",
        )
    for name in found.missing:
        table.add_row(name, *("-",) * (len(columns) - 1))
    return table


def _of_accuracy(found: Accuracy) -> Table:
    table = _table("Character error rate, with the interval of 95 %", "of", "n", "ours", "EasyOCR")
    for what, texts in (("lines", found.lines), ("pages of 12 megapixels", found.pages)):
        sides = (f"{one.value:.2%} ({one.low:.2%} to {one.high:.2%})" for one in _sides(texts))
        table.add_row(what, str(texts.ours.n), *sides)
    shares = f"top-1 {found.top1:.0%}, top-5 {found.top5:.0%}"
    table.add_row("labels of photographs", str(found.labelled), shares, "")
    return table


def _sides(texts: Texts) -> Sequence[Any]:
    return (texts.ours, texts.stock)


def _of_versus(found: Versus) -> Table:
    columns = ("photographs", "ours/s", "EasyOCR/s", "times", "letters where none are")
    table = _table("Text stage beside stock EasyOCR", *columns)
    for what in CLASSES:
        ours, stock = found.ours[what], found.stock[what]
        rates = (f"{one.photos_per_s:.2f}" for one in (ours, stock))
        times = f"{found.times_as_fast(what):.1f}"
        table.add_row(what, *rates, times, f"{ours.invented} / {stock.invented}")
    return table


def _of_whole(found: Imported, scripts: Sequence[Ran]) -> Table:
    table = _table(f"{found.photos} photos", "by", "s", "photos/s", "ms CPU/photo", "")
    for one in scripts:
        cpu = f"{1000 * one.cpu_s / found.photos:.0f}"
        rate = f"{found.photos / one.took_s:.2f}"
        table.add_row(f"script, {one.way.about}", f"{one.took_s:.1f}", rate, cpu, "")
    table.add_row(
        "the whole system",
        f"{found.took_s:.1f}",
        f"{found.photos / found.took_s:.2f}",
        f"{sum(found.cpu_ms.values()):.0f}",
        f"text alone for {found.tail_s:.0f} s on {found.tail_cores:.2f} cores",
    )
    return table


def _of_people(found: People) -> Table:
    table = _table("Single photos (ms)", "", "n", "p50", "p95")
    for what, one in (("idle", found.idle), ("beside an import", found.loaded)):
        table.add_row(what, str(len(one.ms)), f"{one.p50_ms:.0f}", f"{one.p95_ms:.0f}")
    return table

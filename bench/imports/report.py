"""The figures that matter, whether they are as they must be, and how people see them. Pure but for
writing to the console it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench.imports.replay import Replayed
from bench.imports.whole import Whole
from bench.runtime.report import Limit
from bench.runtime.table import verdict
from rich.console import Console
from rich.table import Table

LIMITS: Final = (
    Limit("photos_per_s", "least", 50.0, None),
    Limit("changelog_bytes_per_photo_1m", "most", 200.0, None),
    Limit("totals_exact", "least", 1.0, None),
)


@dataclass(frozen=True, slots=True)
class Found:
    """All that was measured."""

    whole: Whole
    replayed: Replayed

    @property
    def wrong(self) -> list[str]:
        """What is not exact, with where it was seen."""
        seen = {
            "import": self.whole.first.wrong,
            "second import": self.whole.again.wrong,
            "replay": self.replayed.wrong,
        }
        return [f"{where}: {what}" for where, some in seen.items() for what in some]


def figures(found: Found) -> dict[str, float]:
    """The figures by their names."""
    whole, replayed = found.whole, found.replayed
    return {
        "photos_per_s": whole.first.per_s,
        "reimport_files_per_s": whole.again.per_s,
        "changelog_bytes_per_photo": whole.changelog_bytes / max(1, whole.first.files),
        "changelog_bytes_per_photo_1m": replayed.changelog_bytes / replayed.photos,
        "aggregator_pss_mb": whole.aggregator_mb,
        "aggregator_pss_mb_1m": replayed.aggregator_mb,
        "totals_exact": float(not found.wrong),
    }


def judged(values: Mapping[str, float]) -> Sequence[Limit]:
    """The limits with the figures that they are about."""
    return [
        Limit(one.figure, one.kind, one.bound, one.aim, values.get(one.figure)) for one in LIMITS
    ]


def as_json(found: Found, about: Mapping[str, Any]) -> dict[str, Any]:
    """The whole result: figures on top, then limits, then what they are made of, then `about`."""
    values = figures(found)
    whole, replayed = found.whole, found.replayed
    return {
        **{name: round(value, 3) for name, value in values.items()},
        "totals_exact": not found.wrong,
        "wrong": found.wrong,
        "limits": [{**asdict(one), "ok": one.ok} for one in judged(values)],
        "photos": whole.first.files,
        "photo_bytes": round(whole.photo_bytes),
        "import_s": round(whole.first.took_s, 3),
        "import_cpu_ms_per_photo": _rounded(whole.first.cpu_ms),
        "reimport_s": round(whole.again.took_s, 3),
        "reimport_cpu_ms_per_file": _rounded(whole.again.cpu_ms),
        "replayed": replayed.photos,
        "replay_s": round(replayed.took_s, 3),
        "replayed_per_s": round(replayed.per_s, 1),
        "replay_aggregator_cpu_ms_per_photo": round(replayed.cpu_ms, 4),
        "aggregator_pss_mb_idle": replayed.idle_mb,
        **about,
    }


def tell(found: Found, console: Console) -> None:
    """The table, where the CPU went, the limits, and what is wrong."""
    whole, replayed, values = found.whole, found.replayed, figures(found)
    table = Table(title="\nImports", title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(
        ("", "files", "files/s", "ms CPU/file", "changelog B/photo", "aggregator MB")
    ):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    rows = (
        ("folder to catalog", whole.first, "changelog_bytes_per_photo", "aggregator_pss_mb"),
        ("the same again", whole.again, "", ""),
    )
    for what, one, changelog, memory in rows:
        cpu = f"{sum(one.cpu_ms.values()):.1f}"
        kept = [f"{values[name]:.1f}" if name else "" for name in (changelog, memory)]
        table.add_row(what, f"{one.files:,}", f"{one.per_s:,.1f}", cpu, *kept)
    table.add_row(
        "aggregator alone",
        f"{replayed.photos:,}",
        f"{replayed.per_s:,.0f}",
        f"{replayed.cpu_ms:.2f}",
        f"{values['changelog_bytes_per_photo_1m']:.1f}",
        f"{replayed.aggregator_mb:.1f}",
    )
    console.print(table, highlight=False)
    console.print(f"\nms CPU/photo: {_listed(whole.first.cpu_ms)}", highlight=False, soft_wrap=True)
    console.print(
        f"ms CPU/duplicate: {_listed(whole.again.cpu_ms)}\n", highlight=False, soft_wrap=True
    )
    for limit in judged(values):
        console.print(verdict(limit), highlight=False)
    for line in found.wrong:
        console.print(f"[red]not exact[/] {line}", highlight=False)


def _listed(cpu_ms: Mapping[str, float]) -> str:
    """The largest first; what is next to nothing is left out."""
    parts = sorted(cpu_ms.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {ms:.1f}" for name, ms in parts if ms >= 0.05)


def _rounded(cpu_ms: Mapping[str, float]) -> dict[str, float]:
    return {name: round(ms, 3) for name, ms in cpu_ms.items()}

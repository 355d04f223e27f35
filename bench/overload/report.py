"""The figures that matter, whether they are as they must be, and how people see them. Pure but for
writing to the console it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from bench.overload.standstill import Probe, Standstill
from bench.overload.storm import Storm, p
from bench.runtime.report import Limit
from bench.runtime.table import verdict
from rich.console import Console

REFUSE_AT: Final = 1_000

LIMITS: Final = (
    Limit("refusal_p99_ms", "most", 100.0, None),
    Limit("refused_otherwise", "most", 0.0, None),
    Limit("accepted_p95_over_idle", "most", 2.0, None),
    Limit("lost", "most", 0.0, None),
    Limit("memory_over_before", "most", 1.5, None),
    Limit("high_refused", "most", 0.0, None),
    Limit("overshoot_ratio", "most", 1.1, None),
    Limit("right_cause", "least", 1.0, None),
    Limit("warned_then_closed_then_open", "least", 1.0, None),
    Limit("retry_after_error", "most", 0.5, None),
)

_RESOLUTION_S: Final = 2.0
"""Retry-After has whole seconds, the load is measured every two: less than that is no error."""


@dataclass(frozen=True, slots=True)
class Found:
    """All that was measured."""

    storm: Storm | None
    standstill: Standstill | None


def figures(found: Found) -> dict[str, float]:
    """The figures by their names; only those of what was measured."""
    values: dict[str, float] = {}
    lost = [one.lost for one in (found.storm, found.standstill) if one is not None]
    values["lost"] = float(sum(lost))
    values["high_refused"] = float(_high_refused(found))
    if found.storm is not None:
        values |= _of_storm(found.storm)
    if found.standstill is not None:
        values |= _of_standstill(found.standstill)
    return values


def _of_storm(storm: Storm) -> dict[str, float]:
    idle_p95 = p(storm.idle_ms, 95)
    return {
        "can_per_s": storm.can_per_s,
        "asked_per_s": storm.asked_per_s,
        "asked_over_can": storm.asked_per_s / storm.can_per_s,
        "accepted": float(len(storm.accepted_ms)),
        "refused": float(len(storm.refused_ms)),
        "idle_p95_ms": idle_p95,
        "accepted_p95_ms": p(storm.accepted_ms, 95),
        "accepted_p95_over_idle": p(storm.accepted_ms, 95) / idle_p95,
        "refused_otherwise": float(
            sum(count for code, count in storm.codes.items() if code != "lane_full")
        ),
        "refusal_p50_ms": p(storm.refused_ms, 50),
        "refusal_p99_ms": p(storm.refused_ms, 99),
        "memory_before_mb": sum(storm.memory_before_mb.values()),
        "memory_over_before": sum(storm.memory_peak_mb.values())
        / max(1.0, sum(storm.memory_before_mb.values())),
    }


def _of_standstill(still: Standstill) -> dict[str, float]:
    return {
        "overshoot_ratio": still.highest / REFUSE_AT,
        "right_cause": float("detector is not running" in still.cause),
        "warned_then_closed_then_open": float(_in_order(still.seen)),
        "retry_after_error": retry_after_error(still.probes),
    }


def retry_after_error(probes: Sequence[Probe]) -> float:
    """By how much of the true time Retry-After was wrong, in the middle of all refusals that came
    after the detector did something again; 1 if there were none."""
    known = [probe for probe in probes if probe.said_s < 60]
    if not known:
        return 1.0
    errors = [
        max(0.0, abs(probe.said_s - probe.took_s) - _RESOLUTION_S)
        / max(probe.took_s, _RESOLUTION_S)
        for probe in known
    ]
    return median(errors)


def judged(values: Mapping[str, float]) -> Sequence[Limit]:
    """The limits with the figures that they are about."""
    return [
        Limit(one.figure, one.kind, one.bound, one.aim, values.get(one.figure)) for one in LIMITS
    ]


def as_json(found: Found, about: Mapping[str, Any]) -> dict[str, Any]:
    """The whole result: figures on top, then limits, then what they are made of, then `about`."""
    values = figures(found)
    storm = None if found.storm is None else _without_times(asdict(found.storm))
    return {
        **{name: round(value, 4) for name, value in values.items()},
        "lost": int(values["lost"]),
        "limits": [{**asdict(one), "ok": one.ok} for one in judged(values)],
        "storm": storm,
        "standstill": None if found.standstill is None else asdict(found.standstill),
        **about,
    }


def tell(found: Found, console: Console) -> None:
    """What happened, in sentences, then the limits."""
    values = figures(found)
    if found.storm is not None:
        console.print(
            f"\nStorm: it can do {values['can_per_s']:.0f} photos a second; asked for"
            f" {values['asked_per_s']:.0f}. {values['accepted']:,.0f} were accepted (p95"
            f" {values['accepted_p95_ms']:.0f} ms, idle {values['idle_p95_ms']:.0f}),"
            f" {values['refused']:,.0f} refused (p99 {values['refusal_p99_ms']:.0f} ms:"
            f" {found.storm.codes}).",
            highlight=False,
        )
    if found.standstill is not None:
        still = found.standstill
        console.print(
            f"\nStandstill: {still.accepted:,} of {still.pushed:,} were accepted; at most"
            f" {still.highest:,} waited. “{still.cause}” Seen: {', '.join(still.seen)}.",
            highlight=False,
        )
    console.print()
    for limit in judged(values):
        console.print(verdict(limit), highlight=False)


def _high_refused(found: Found) -> int:
    refused = 0
    if found.storm is not None:
        asked, accepted = found.storm.high
        refused += asked - accepted
    if found.standstill is not None:
        asked, _, ended = found.standstill.high
        refused += asked - ended
    return refused


def _in_order(seen: Sequence[str]) -> bool:
    """Whether it was warned of, then closed, then not any more."""
    wanted = iter(seen)
    return all(any(state == one for one in wanted) for state in ("warned", "closed", "open"))


def _without_times(storm: dict[str, Any]) -> dict[str, Any]:
    """Thousands of milliseconds say no more than their percentiles."""
    return {name: value for name, value in storm.items() if not name.endswith("_ms")}

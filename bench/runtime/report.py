"""The figures that matter, and whether they are as they must be. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from bench.runtime.results import Found


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure has to be, and what it should be; `value` None: it was not measured."""

    figure: str
    kind: Literal["least", "most"]
    bound: float
    aim: float | None
    value: float | None = None

    @property
    def ok(self) -> bool | None:
        """Whether the bound holds; None if there is no figure."""
        return self._within(self.bound)

    @property
    def aim_reached(self) -> bool | None:
        """Whether the aim is reached; None if there is no figure or no aim."""
        return None if self.aim is None else self._within(self.aim)

    def _within(self, bound: float) -> bool | None:
        if self.value is None:
            return None
        return self.value >= bound if self.kind == "least" else self.value <= bound


LIMITS: Final = (
    Limit("fanout_vs_celery", "least", 4.0, 8.0),
    Limit("stage_vs_bare", "least", 0.3, 0.4),
    Limit("high_p95_loaded_over_idle", "most", 2.0, None),
)


def figures(found: Found) -> dict[str, float]:
    """The figures by their names; only those of the parts that were measured."""
    return {**_fanout(found), **_stage(found), **_latency(found)}


def judged(values: Mapping[str, float]) -> Sequence[Limit]:
    """The limits with the figures that they are about."""
    return [
        Limit(one.figure, one.kind, one.bound, one.aim, values.get(one.figure)) for one in LIMITS
    ]


def as_json(found: Found, about: Mapping[str, Any]) -> dict[str, Any]:
    """The whole result: figures on top, then limits, then all rounds, then `about`."""
    values = figures(found)
    limits = judged(values)
    return {
        **{name: round(value, 4) for name, value in values.items()},
        "limits": [{**asdict(one), "ok": one.ok, "aim_reached": one.aim_reached} for one in limits],
        "limits_met": met(limits),
        "spread": {
            **{name: one.spread for name, one in found.fanout.items()},
            **{name: one.spread for name, one in found.stage.items()},
        },
        "fanout": {name: asdict(one) for name, one in found.fanout.items()},
        "stage": {name: asdict(one) for name, one in found.stage.items()},
        "stage_cpu_us_by_part": dict(found.cpu_us_by_part),
        "latency": {name: asdict(one) for name, one in found.latency.items()},
        **about,
    }


def met(limits: Sequence[Limit]) -> bool:
    """Whether all that was measured is within its limit, and something was."""
    told = [one.ok for one in limits if one.ok is not None]
    return bool(told) and all(told)


def _fanout(found: Found) -> dict[str, float]:
    rates = {name: one.photos_per_s for name, one in found.fanout.items()}
    named = {"darkroom": "fanout", "celery": "celery", "dramatiq": "dramatiq"}
    values = {f"{named[name]}_photos_per_s": rate for name, rate in rates.items()}
    for peer in ("celery", "dramatiq"):
        if peer in rates and "darkroom" in rates:
            values[f"fanout_vs_{peer}"] = rates["darkroom"] / rates[peer]
    return values


def _stage(found: Found) -> dict[str, float]:
    rates = {name: one.records_per_s for name, one in found.stage.items()}
    values = {f"{name}_records_per_s": rate for name, rate in rates.items()}
    if {"stage", "bare"} <= rates.keys():
        values["stage_vs_bare"] = rates["stage"] / rates["bare"]
    return values


def _latency(found: Found) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, one in found.latency.items():
        before = "" if name == "darkroom" else f"{name}_"
        values[f"{before}high_p50_idle_ms"] = one.idle.p50_ms
        values[f"{before}high_p95_idle_ms"] = one.idle.p95_ms
        values[f"{before}high_p50_loaded_ms"] = one.loaded.p50_ms
        values[f"{before}high_p95_loaded_ms"] = one.loaded.p95_ms
        values[f"{before}high_p95_loaded_over_idle"] = one.p95_ratio
    return values

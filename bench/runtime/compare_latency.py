"""(c) Urgent records on Darkroom and on Celery."""

from collections.abc import Mapping
from typing import Final

from bench.runtime.context import START_S, Context
from bench.runtime.darkroom.system import Single
from bench.runtime.fanout import System
from bench.runtime.latency import Latency, measure
from bench.runtime.peers.systems import Celery

_WORKERS: Final = 2
"""Celery's processes: as many as Darkroom's stage has engines."""


def compare_latency(context: Context) -> Mapping[str, Latency]:
    """Measure both, one after the other."""
    plan = context.plan
    systems: list[System] = [
        Single("urgent.", plan.burn_ms),
        Celery("prefork", _WORKERS, prefetch=1, kind="single", burn_ms=plan.burn_ms),
    ]
    found = {}
    for system in systems:
        if system.name in context.systems:
            what = f"(c) {plan.urgent} urgent records idle, and beside a backlog of {plan.backlog}"
            context.say(f"{what}, on {system.name}", START_S + 10 + 0.15 * 2 * plan.urgent)
            found[system.name] = measure(system, context.ground, plan.urgent, plan.backlog)
    return found

"""Runs the parts of the benchmark, one measurement after another."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from bench.runtime.compare_fanout import compare_fanout
from bench.runtime.compare_latency import compare_latency
from bench.runtime.compare_stage import compare_stage
from bench.runtime.context import Context
from bench.runtime.parts import by_part
from bench.runtime.results import Found

PARTS: Final = ("fanout", "stage", "latency")


def run(context: Context, parts: Collection[str]) -> Found:
    """Measure these parts. Raises ProgramError, BacklogGoneError."""
    found = Found()
    if "fanout" in parts:
        found = replace(found, fanout=compare_fanout(context))
    if "stage" in parts:
        found = replace(found, stage=compare_stage(context))
        found = replace(found, cpu_us_by_part=by_part(context))
    if "latency" in parts:
        found = replace(found, latency=compare_latency(context))
    return found

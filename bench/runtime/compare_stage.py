"""(b) Rounds of one stage and of the bare loop, interleaved."""

from collections.abc import Mapping
from typing import Final

from bench.runtime.context import START_S, Context
from bench.runtime.darkroom.system import StageWorker
from bench.runtime.peers.bare import WAYS
from bench.runtime.results import Trial, WorkerRuns
from bench.runtime.single import Run, Worker, measure

_GUESSES: Final = {"stage": 5_000.0, "bare": 12_000.0}
"""Records a second, for the progress line only."""


def compare_stage(context: Context) -> Mapping[str, WorkerRuns]:
    """Measure both; the loop commits in the way that was faster in one short run each."""
    trials = []
    for way in WAYS:
        records = context.plan.stage_records // 2
        run = _run(context, way, records, f"try-{way.way}.", f"trying {way.about}")
        trials.append(Trial(way.about, run.records_per_s))
    rates = [one.per_s for one in trials]
    workers: list[Worker] = [StageWorker(), WAYS[rates.index(max(rates))]]
    runs: dict[str, list[Run]] = {}
    for number in range(context.plan.rounds):
        for worker in workers if number % 2 == 0 else reversed(workers):
            what = f"round {number + 1} of {context.plan.rounds}"
            prefix = f"{worker.name}{number}."
            run = _run(context, worker, context.plan.stage_records, prefix, what)
            runs.setdefault(worker.name, []).append(run)
    tried = {"stage": (), "bare": trials}
    return {one.name: WorkerRuns(one.about, runs[one.name], tried[one.name]) for one in workers}


def _run(context: Context, worker: Worker, records: int, prefix: str, what: str) -> Run:
    fill_s = records / 20_000
    about_s = START_S + fill_s + records / _GUESSES[worker.name]
    context.say(f"(b) {what}: {records} records through {worker.name}", about_s)
    return measure(worker, context.ground, records, prefix)

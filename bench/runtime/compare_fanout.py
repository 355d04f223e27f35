"""(a) Rounds of the fan-out, interleaved, each peer in the setting that was best in a trial."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from bench.runtime.context import START_S, Context
from bench.runtime.darkroom.system import FanOut
from bench.runtime.fanout import Load, Round, System, measure
from bench.runtime.peers.systems import CELERY, DRAMATIQ
from bench.runtime.plan import photos_of_round
from bench.runtime.results import SystemRounds, Trial

_GUESSES: Final = {"darkroom": 700.0, "celery": 120.0, "dramatiq": 350.0}
"""Photos a second, for the progress line only."""

_S = TypeVar("_S", bound=System)


def compare_fanout(context: Context) -> Mapping[str, SystemRounds]:
    """Measure all systems. The order changes from round to round, so that none is always first."""
    celery, celery_trials = _best(context, CELERY)
    dramatiq, dramatiq_trials = _best(context, DRAMATIQ)
    trials = {"darkroom": (), "celery": celery_trials, "dramatiq": dramatiq_trials}
    photos = {
        name: photos_of_round(context.plan, max((one.per_s for one in tried), default=math.inf))
        for name, tried in trials.items()
    }
    abouts: dict[str, str] = {}
    rounds: dict[str, list[Round]] = {name: [] for name in trials}
    for number in range(context.plan.rounds):
        systems: list[System] = [FanOut(f"fan{number}."), celery, dramatiq]
        first = number % len(systems)
        for system in systems[first:] + systems[:first]:
            if system.name in context.systems:
                abouts[system.name] = system.about
                rounds[system.name].append(_round(context, system, number, photos[system.name]))
    return {
        name: SystemRounds(abouts[name], rounds[name], trials[name])
        for name in trials
        if rounds[name]
    }


def _round(context: Context, system: System, number: int, photos: int) -> Round:
    plan = context.plan
    what = f"(a) round {number + 1} of {plan.rounds}: {photos} photos on {system.name}"
    context.say(what, START_S + photos / _GUESSES[system.name])
    return measure(system, context.ground, Load(photos, plan.window, plan.warm_up))


def _best(context: Context, settings: Sequence[_S]) -> tuple[_S, Sequence[Trial]]:
    """The setting of a peer that is fastest in one short run each."""
    if settings[0].name not in context.systems:
        return settings[0], ()
    photos = context.plan.trial_photos
    load = Load(photos, photos // 2, context.plan.warm_up // 3)
    rates = []
    for one in settings:
        what = f"(a) trying {one.name} with {one.about}: {photos} photos"
        context.say(what, START_S + photos / _GUESSES[one.name])
        rates.append(measure(one, context.ground, load).photos_per_s)
    trials = [Trial(one.about, rate) for one, rate in zip(settings, rates, strict=True)]
    return settings[rates.index(max(rates))], trials

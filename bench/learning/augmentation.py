"""Whether changed copies of the examples teach more than the examples alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from bench.learning.figures import Interval, mean_interval
from bench.learning.known import NONE, Known, Numbers
from bench.learning.learning import named
from bench.learning.pictures import Picture
from bench.learning.plan import EXAMPLES, SEED, Plan
from PIL import Image, ImageOps

from trainer.examples import Examples
from trainer.fitting import fit

Change = Callable[[Image.Image], Image.Image]


def _cut(image: Image.Image) -> Image.Image:
    """The middle of it: 80 % of each side."""
    width, height = image.size
    return image.crop((width // 10, height // 10, width - width // 10, height - height // 10))


CHANGES: Final[Mapping[str, Change]] = {"mirrored": ImageOps.mirror, "cut": _cut}

_WEIGHT: Final = 0.5
"""Of a copy; as a whole they weigh as much as the example."""


@dataclass(frozen=True, slots=True)
class Gain:
    """With so many examples of each label: the share of unseen pictures whose likeliest label is
    right, with copies less without, in the mean over seeds of which each has both, and its 95 %
    interval."""

    examples: int
    gain: Interval


def changed(pictures: list[Picture], change: Change) -> Iterator[Picture]:
    """All of the pictures, changed."""
    return (replace(one, image=change(one.image)) for one in pictures)


def gains(known: Known, copies: list[Known], plan: Plan, told: Callable[[str], None]) -> list[Gain]:
    """One for each number of examples; `copies` are the same pictures changed, in their order."""
    found = []
    for examples in EXAMPLES:
        each = [_gain(known, copies, examples, seed) for seed in range(plan.seeds)]
        found.append(Gain(examples, mean_interval(each, SEED)))
        told(f"{examples} examples: {found[-1].gain.value:+.4f} by copies")
    return found


def _gain(known: Known, copies: list[Known], count: int, seed: int) -> float:
    unseen = known.unseen(seed)
    draw = np.random.default_rng((seed, 1))
    labels = np.array(known.labels)
    shown: list[Numbers] = []
    for name in known.names:
        pool = np.flatnonzero(~unseen & (labels == name))
        shown.append(draw.permutation(pool)[:count])
    places = np.concatenate(shown)
    alone = known.examples(places)
    more = Examples.of(
        [*map(str, places), *(f"{one}-{n}" for n in range(len(copies)) for one in places)],
        [None if known.labels[one] == NONE else known.labels[one] for one in places]
        * (1 + len(copies)),
        np.concatenate([one.vectors[places] for one in (known, *copies)]),
        [1.0] * len(places) + [_WEIGHT] * (len(places) * len(copies)),
    )
    right = []
    for examples in (more, alone):
        head = fit(examples, known.model_version, seed=seed).head
        right.append(named(head.predict(known.vectors[unseen]), labels[unseen]))
    return right[0] - right[1]

"""Embeddings of pictures whose labels are known, and which of them are unseen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from bench.learning.pictures import Picture
from bench.models import services
from numpy.typing import NDArray
from PIL import Image

from embedder.engines import EmbedderEngine
from trainer.examples import Examples, Floats
from trainer.folds import copies
from trainer.policy import USUAL

ENGINE: Final = "efficientnet-lite0"

NONE: Final = "none"
"""What a folder of photos is called that show none of the labels."""

Numbers = NDArray[np.int64]

_LOOKED_AT: Final = 16
_NO_SIDE: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """n pictures: their labels, embeddings (n, d), and what they are parts of (see Picture), by
    number; `sides`: 0 or 1, or -1 for parts of what has no sides."""

    labels: tuple[str, ...]
    vectors: Floats
    sources: Numbers
    sides: Numbers
    model_version: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of the labels, NONE among them if there is such a folder."""
        return tuple(sorted(set(self.labels)))

    def unseen(self, seed: int) -> NDArray[np.bool_]:
        """About half of them, of every label: one side of each thing that has two, and all of half
        of the other things."""
        draw = np.random.default_rng((seed, 0))
        side = draw.integers(2, size=self.sources.max() + 1)[self.sources]
        found: NDArray[np.bool_] = self.sides == side
        labels = np.array(self.labels)
        for name in self.names:
            whole = (labels == name) & (self.sides == _NO_SIDE)
            things = draw.permutation(np.unique(self.sources[whole]))
            found = found | (whole & np.isin(self.sources, things[: len(things) // 2]))
        return found

    def examples(self, places: Numbers) -> Examples:
        """Of these pictures, as a person would give them."""
        keys = [str(one) for one in places]
        labels = [None if self.labels[one] == NONE else self.labels[one] for one in places]
        return Examples.of(keys, labels, self.vectors[places])


def known(pictures: Iterable[Picture], threads: int, told: Callable[[str], None]) -> Known:
    """Embeddings by the packaged engine, as the embedder's service loads and calls it.

    Near copies are parts of one thing, so that none is unseen whose copy was seen; a label that is
    then but one thing is left out. Raises ValueError if fewer than two labels are left.
    """
    engine = cast(EmbedderEngine, services.load("embedder", ENGINE, threads).engine)
    vectors: list[Floats] = []
    labels, sources, sides, batch = [], [], [], []
    for picture in pictures:
        labels.append(picture.label)
        sources.append(picture.source)
        sides.append(_NO_SIDE if picture.side is None else picture.side)
        batch.append(picture.image)
        if len(batch) == _LOOKED_AT:
            vectors += _seen(engine, batch)
            batch = []
    vectors += _seen(engine, batch)
    everything = Known(
        tuple(labels),
        np.stack(vectors) if vectors else np.empty((0, 0), np.float32),
        np.array(sources, np.int64),
        np.array(sides, np.int64),
        engine.model_version,
    )
    return usable(everything, told)


def usable(every: Known, told: Callable[[str], None]) -> Known:
    """See `known`."""
    sources = every.sources.copy()
    whole = np.flatnonzero(every.sides == _NO_SIDE)
    sources[whole] = sources.max(initial=0) + 1 + copies(every.vectors[whole], USUAL.copy_cosine)
    labels = np.array(every.labels)
    kept = np.ones(len(labels), np.bool_)
    for name in every.names:
        of_label = labels == name
        if (every.sides[of_label] == _NO_SIDE).all() and len(set(sources[of_label])) < 2:
            told(f"{name} is left out: it has no two photos that are not copies of each other")
            kept &= ~of_label
    if len({*labels[kept].tolist()} - {NONE}) < 2:
        raise ValueError("fewer than two labels have two different photos")
    return Known(
        tuple(labels[kept].tolist()),
        every.vectors[kept],
        sources[kept],
        every.sides[kept],
        every.model_version,
    )


def _seen(engine: EmbedderEngine, batch: list[Image.Image]) -> list[Floats]:
    return engine.embed(batch) if batch else []

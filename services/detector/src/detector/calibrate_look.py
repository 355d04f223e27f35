"""What the model makes of labelled photos, seen as the pipeline shows photos to it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector.calibrate_examples import CalibrateError, Example, Read, UnusableError, some
from detector.calibration import NONE_OF_THESE
from detector.calibration_fit import NONE, Labelled
from detector.engines import Labeller
from detector.handlers import ENOUGH_PIXELS
from imaging import DecodeProcess, ImageRejected, open_upright_rgb

MOST_LOGITS: Final = 20_000_000
"""Numbers that are kept, 80 MB: 20,000 photos of a thousand labels. Of more, some are used."""

MOST_PHOTOS: Final = 100_000
_BATCH: Final = 8

Progress = Callable[[int, int], None]
"""Told after every few photos: how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of the examples: `sample` is of those `used`, in their order; `left_out` are names
    with the reason; `not_taken` counts those beyond what is kept.
    """

    sample: Labelled
    used: Sequence[Example]
    left_out: Sequence[tuple[str, str]]
    not_taken: int


def look(labeller: Labeller, examples: Sequence[Example], read: Read, progress: Progress) -> Seen:
    """The labeller's logits of the photos. Blocks, a photo at a time in memory but for a few.

    A photo that can't be read, is no picture, or to which the model has no finite answer is left
    out. Raises CalibrateError if none is left, MemoryError.
    """
    labels = labeller.labels
    taken = some(examples, min(MOST_PHOTOS, max(1, MOST_LOGITS // len(labels))))
    rows = np.empty((len(taken), len(labels)), np.float32)
    used: list[Example] = []
    left_out: list[tuple[str, str]] = []
    with DecodeProcess() as decoder:
        pictures = _pictures(taken, read, decoder, left_out)
        while batch := list(islice(pictures, _BATCH)):
            for (example, _), row in zip(batch, _answers(labeller, batch), strict=True):
                if np.isfinite(row).all():
                    rows[len(used)] = row
                    used.append(example)
                else:
                    left_out.append((example.name, "The model has no answer to it."))
            progress(len(used) + len(left_out), len(taken))
    progress(len(taken), len(taken))
    if not used:
        raise CalibrateError("None of the photos could be used." + _first(left_out))
    sample = Labelled(rows[: len(used)], _truth(used, labels), _groups(used))
    return Seen(sample, used, left_out, len(examples) - len(taken))


def _pictures(
    examples: Sequence[Example],
    read: Read,
    decoder: DecodeProcess,
    left_out: list[tuple[str, str]],
) -> Iterator[tuple[Example, Image.Image]]:
    """The photos as a stage opens them: made a rendition apart, where they can do no harm."""
    for example in examples:
        try:
            data = read(example)
            rendition = decoder.prepare(data).rendition or data
            yield example, open_upright_rgb(rendition, at_least=ENOUGH_PIXELS)
        except UnusableError as error:
            left_out.append((example.name, str(error)))
        except ImageRejected as error:
            left_out.append((example.name, error.message))


def _answers(
    labeller: Labeller, batch: Sequence[tuple[Example, Image.Image]]
) -> NDArray[np.float32]:
    """Logits of the pictures (n, k); NaN for those that the model can't take."""
    from backbones import BackboneError  # brings torch along, which --help need not wait for

    try:
        return labeller.logits([picture for _, picture in batch])
    except BackboneError:
        if len(batch) > 1:
            return np.concatenate([_answers(labeller, [one]) for one in batch])
        return np.full((1, len(labeller.labels)), np.nan, np.float32)


def _truth(examples: Sequence[Example], labels: Sequence[str]) -> NDArray[np.intp]:
    number = {label: at for at, label in enumerate(labels)} | {NONE_OF_THESE: NONE}
    return np.array([number[example.label] for example in examples], dtype=np.intp)


def _groups(examples: Sequence[Example]) -> NDArray[np.intp]:
    number = {name: at for at, name in enumerate(dict.fromkeys(one.group for one in examples))}
    return np.array([number[example.group] for example in examples], dtype=np.intp)


def _first(left_out: Sequence[tuple[str, str]]) -> str:
    return f" The first of them, {left_out[0][0]}: {left_out[0][1]}" if left_out else ""

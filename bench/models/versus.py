"""Our text stage beside stock EasyOCR: the same pixels and threads, picture by picture in turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from bench.imports.progress import Progress
from bench.models import lettering, photographs
from bench.models.children import Child
from bench.models.plan import SEED, Plan
from bench.models.readers import STOCK, Read, reader
from bench.models.scores import Errors, error_rate, errors

Write = Callable[[str], None]

CLASSES: Final = ("with text", "without")


@dataclass(frozen=True, slots=True)
class Side:
    """One reader on one class: photos a second; characters read wrongly (0 edits of 0 where there
    are none); characters that were read where nothing is written."""

    photos_per_s: float
    errors: Sequence[Errors]
    invented: int


@dataclass(frozen=True, slots=True)
class Versus:
    """Both readers on each class, `photos` of each."""

    photos: int
    ours: dict[str, Side]
    stock: dict[str, Side]

    def times_as_fast(self, what: str) -> float:
        """Our photos a second by those of EasyOCR."""
        return self.ours[what].photos_per_s / self.stock[what].photos_per_s

    @property
    def error_rates(self) -> tuple[float, float]:
        """Ours and theirs, on the photographs with text."""
        return error_rate(self.ours["with text"].errors), error_rate(self.stock["with text"].errors)


def measure(plan: Plan, threads: int, write: Write) -> Versus:
    """Both, with `threads` threads each while the other one waits. Raises ChildError."""
    ours: dict[str, Side] = {}
    stock: dict[str, Side] = {}
    with (
        Child(partial(reader, "auto", threads), threads) as first,
        Child(partial(reader, STOCK, threads), threads) as second,
    ):
        for what in CLASSES:
            write(f"text stage beside EasyOCR: {plan.compared} photographs {what}")
            pictures = [picture(what, number) for number in range(plan.compared)]
            progress, reads = Progress("photographs", len(pictures), write), []
            for at, one in enumerate(pictures):
                reads.append(_in_turns(first, second, one, at))
                progress(at + 1)
            ours[what] = _side(pictures, [read for read, _ in reads])
            stock[what] = _side(pictures, [read for _, read in reads])
    return Versus(plan.compared, ours, stock)


def picture(what: str, number: int) -> lettering.Lettered:
    """A photograph of a class: sizes take turns, photographs too."""
    names = photographs.WITHOUT_TEXT
    size = photographs.SIZES[number % len(photographs.SIZES)]
    seed = (SEED, 4, CLASSES.index(what), number)
    image = photographs.crop(names[number % len(names)], size, seed)
    if what == "with text":
        return lettering.signed(image, seed)
    return lettering.Lettered(image, "", "nothing")


def _in_turns(
    ours: Child, stock: Child, shown: lettering.Lettered, number: int
) -> tuple[Read, Read]:
    """Now one goes first, now the other."""
    pixels = np.asarray(shown.image)
    if number % 2:
        theirs = stock.ask(pixels)
        return ours.ask(pixels), theirs
    mine = ours.ask(pixels)
    return mine, stock.ask(pixels)


def _side(pictures: Sequence[lettering.Lettered], reads: Sequence[Read]) -> Side:
    pairs = list(zip(pictures, reads, strict=True))
    return Side(
        photos_per_s=len(reads) / sum(read.seconds for read in reads),
        errors=[errors(shown.text, read.text) for shown, read in pairs if shown.text],
        invented=sum(len(read.text) for shown, read in pairs if not shown.text),
    )

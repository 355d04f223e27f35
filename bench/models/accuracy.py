"""How right the packaged engines are, on pictures of which the truth is known."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from bench.imports.progress import Progress
from bench.models import lettering, photographs, services
from bench.models.children import Answer, Child
from bench.models.plan import PAGE_LINES, SEED, Plan
from bench.models.readers import STOCK, Pixels, Read, reader
from bench.models.scores import (
    Errors,
    Interval,
    difference_interval,
    error_rate_interval,
    errors,
    share_right,
)
from PIL import Image

from stagekit import Photo

_BEST: Final = (1, 5)

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Texts:
    """Character error rates of both readers on the same pictures, and ours less theirs."""

    ours: Interval
    stock: Interval
    difference: Interval
    ours_s: float
    stock_s: float
    worst: Sequence[str]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """`lines` and `pages` of text; share of `labelled` photographs with the right label first, and
    among the first five."""

    lines: Texts
    pages: Texts
    top1: float
    top5: float
    labelled: int


def measure(plan: Plan, threads: int, write: Write) -> Accuracy:
    """Everything, with `threads` threads. Raises ChildError."""
    with ExitStack() as open_now:
        ours, stock = (
            open_now.enter_context(Child(partial(reader, name, threads), threads))
            for name in ("auto", STOCK)
        )
        write(f"text of {plan.lines} lines, both readers")
        lines = [lettering.line((SEED, 2, one)) for one in range(plan.lines)]
        of_lines = _both(ours, stock, lines, Progress("lines", len(lines), write))
        write(f"text of {plan.pages} pages of 12 megapixels, both readers")
        pages = [lettering.page(PAGE_LINES, (SEED, 3, one)) for one in range(plan.pages)]
        of_pages = _both(ours, stock, pages, Progress("pages", len(pages), write))
    write("labels of photographs")
    with Child(partial(labeller, threads), threads) as child:
        known = photographs.labelled(plan.variants, SEED)
        answers = [child.ask(np.asarray(image)) for image, _ in known]
    right = [names for _, names in known]
    top1, top5 = (share_right(answers, right, k) for k in _BEST)
    return Accuracy(of_lines, of_pages, top1, top5, len(known))


def labeller(threads: int) -> Answer:
    """Answers pixels with the detector's labels, best first."""
    loaded = services.load("detector", "auto", threads)

    def answer(pixels: Pixels) -> list[str]:
        found = services.seen(loaded, Photo.of(Image.fromarray(pixels)))
        return [label["name"] for label in found["labels"]]

    return answer


def _both(
    ours: Child,
    stock: Child,
    pictures: Sequence[lettering.Lettered],
    told: Callable[[int], None],
) -> Texts:
    reads: list[tuple[Read, Read]] = []
    for picture in pictures:
        pixels = np.asarray(picture.image)
        reads.append((ours.ask(pixels), stock.ask(pixels)))
        told(len(reads))
    read_of = list(zip(pictures, reads, strict=True))
    mine = [errors(picture.text, read.text) for picture, (read, _) in read_of]
    theirs = [errors(picture.text, read.text) for picture, (_, read) in read_of]
    return Texts(
        ours=error_rate_interval(mine, SEED),
        stock=error_rate_interval(theirs, SEED),
        difference=difference_interval(mine, theirs, SEED),
        ours_s=sum(read.seconds for read, _ in reads),
        stock_s=sum(read.seconds for _, read in reads),
        worst=_worst(mine, [(one, read.text) for one, (read, _) in read_of]),
    )


def _worst(
    found: Sequence[Errors], pictures: Sequence[tuple[lettering.Lettered, str]], most: int = 8
) -> list[str]:
    """Our worst readings, for whoever wants to know why."""
    order = sorted(range(len(found)), key=lambda one: -found[one].edits)[:most]
    return [
        f"{found[one].edits} edits ({picture.about}): {picture.text[:120]!r} read {text[:120]!r}"
        for one in order
        for picture, text in (pictures[one],)
        if found[one].edits
    ]

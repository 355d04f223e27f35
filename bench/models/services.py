"""The stages' engines as their services load and call them."""

from collections.abc import Callable, Generator, Sequence
from importlib import import_module
from typing import Any, Final

from PIL import Image

from stagekit import Loaded, Photo

STAGES: Final = ("detector", "ocr", "embedder")

Look = Callable[[Sequence[Image.Image]], object]

_CALLS: Final = {"detector": "detect", "embedder": "embed"}


def known(stage: str) -> Sequence[str]:
    """Names of the stage's engines."""
    return tuple(import_module(f"{stage}.engines.choice").ENGINES)


def load(stage: str, engine: str, threads: int) -> Loaded:
    """A stage's engine, as the service of the stage loads it.

    Other settings are those of the environment. Raises what its loading raises.
    """
    settings = import_module(f"{stage}.settings").Settings
    chosen = settings(**{f"{stage}_engine": engine, f"{stage}_threads": threads})
    loaded: Loaded = import_module(f"{stage}.app").loaded(chosen)
    return loaded


def seen(loaded: Loaded, photo: Photo) -> dict[str, Any]:
    """What a stage says of a photo; its slices one after another."""
    found = loaded.look(photo)
    return dict(drained(found) if isinstance(found, Generator) else found)


def drained(slices: Generator[None, None, Any]) -> Any:
    """What a generator returns in the end."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return end.value


def together(stage: str, loaded: Loaded) -> Look:
    """What looks at several pictures at once; a text reader takes one after another."""
    if stage == "ocr":
        return lambda images: [seen(loaded, Photo.of(image)) for image in images]
    look: Look = getattr(loaded.engine, _CALLS[stage])
    return look

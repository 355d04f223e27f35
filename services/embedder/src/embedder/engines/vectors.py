"""What the engines do alike with a network's answer."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from backbones import BackboneError
from embedder.engines import Vector
from streamkit import Reject, Retry


@contextmanager
def instructions() -> Iterator[None]:
    """What a network raises, as what the worker shall do."""
    try:
        yield
    except MemoryError as error:
        raise Retry("The machine has too little memory left for this photo.") from error
    except BackboneError as error:
        raise Reject("engine_failed", "The model could not look at this photo.") from error


def unit(vector: Vector) -> Vector:
    """The vector scaled to length 1. Raises Reject for one of nothing but zeros, or not finite."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or length == 0.0:
        raise Reject("engine_failed", "The model sees nothing in this photo to compare it by.")
    scaled: Vector = (vector / length).astype(np.float32)
    return scaled

"""An engine that some photos poison for as long as a file is there."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from detector.engines import Detection
from streamkit import Reject
from stub_engines import StubDetector

POISON: Final = "STUB_POISON"
"""The variable with the file's path. Without the file there is no poison."""

POISONED_ABOVE: Final = 200
"""Of the blue channel's mean."""


class PoisonedDetector(StubDetector):
    """Breaks on blue photos."""

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        if Path(os.environ[POISON]).exists():
            for image in images:
                if np.asarray(image)[..., 2].mean() > POISONED_ABOVE:
                    raise Reject("engine_failed", "The stub can't bear blue.")
        return super().detect(images)


def detector(_settings: object) -> PoisonedDetector:
    return PoisonedDetector()

"""Engines that take 20 ms for a photo, whatever it shows: a model on a device of its own."""

import time
from collections.abc import Sequence
from typing import Final

from bench.imports.engines import EmptyDetector, EmptyEmbedder, EmptyOcr
from PIL import Image

from detector.engines import Detection
from embedder.engines import Vector
from ocr.engines import Reading
from stagekit import Photo

TAKES_S: Final = 0.02


class SlowDetector(EmptyDetector):
    """See the module."""

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        """See the detector's Engine."""
        time.sleep(TAKES_S * len(images))
        return super().detect(images)


class SlowOcr(EmptyOcr):
    """See the module."""

    def read(self, photo: Photo) -> Reading:
        """See the ocr's Engine."""
        time.sleep(TAKES_S)
        return (yield from super().read(photo))


class SlowEmbedder(EmptyEmbedder):
    """See the module."""

    def embed(self, images: Sequence[Image.Image]) -> list[Vector]:
        """See the embedder's Engine."""
        time.sleep(TAKES_S * len(images))
        return super().embed(images)


def detector(_settings: object) -> SlowDetector:
    """Made by its name in a setting."""
    return SlowDetector()


def ocr(_settings: object) -> SlowOcr:
    """Made by its name in a setting."""
    return SlowOcr()


def embedder(_settings: object) -> SlowEmbedder:
    """Made by its name in a setting."""
    return SlowEmbedder()


def settings() -> dict[str, dict[str, str]]:
    """Those that make the stages use them, by process."""
    return {
        stage: {f"DARKROOM_{stage.upper()}_ENGINE": f"bench.overload.engines:{stage}"}
        for stage in ("detector", "ocr", "embedder")
    }

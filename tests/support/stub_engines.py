"""Engines for tests: answers are a function of the pixels, at once, without any model."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from detector.engines import Detection, Label
from embedder.engines import Vector
from ocr.engines import Reading
from stagekit import Photo


class StubDetector:
    """Confidence is the mean brightness, so that dark photos go to review and bright ones don't."""

    name = "stub"
    model_version = "stub@1"

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        return [
            Detection("test card", (Label("grey", float(np.asarray(image).mean()) / 255),))
            for image in images
        ]


class StubOcr:
    """Finds no text, in two slices."""

    name = "stub"
    model_version = "stub@1"

    def read(self, photo: Photo) -> Reading:
        yield
        return []


class StubEmbedder:
    """The mean colour, at unit length."""

    name = "stub"
    model_version = "stub@1"
    dimension = 3

    def embed(self, images: Sequence[Image.Image]) -> list[Vector]:
        means = [np.asarray(image, np.float32).mean((0, 1)) + 1 for image in images]
        return [mean / np.linalg.norm(mean) for mean in means]


def detector(_settings: object) -> StubDetector:
    return StubDetector()


def ocr(_settings: object) -> StubOcr:
    return StubOcr()


def embedder(_settings: object) -> StubEmbedder:
    return StubEmbedder()


class FailingDetector(StubDetector):
    """An engine that breaks on every photo."""

    def detect(self, images: Sequence[Image.Image]) -> list[Detection]:
        from streamkit import Reject

        raise Reject("engine_failed", "The stub was told to fail.")


def failing_detector(_settings: object) -> FailingDetector:
    return FailingDetector()

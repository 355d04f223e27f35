from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from embedder.app import EMBEDDER, with_engine
from embedder.engines import Vector
from stage_part import part_of


class StubEngine:
    name = "stub"
    model_version = "stub@1"
    dimension = 2

    def embed(self, images: Sequence[Image.Image]) -> list[Vector]:
        return [np.array([0.6, 0.8], np.float32) for _ in images]


def test_the_vector_of_the_engine_is_the_part(tmp_path: Path) -> None:
    part = part_of(EMBEDDER, with_engine(StubEngine()), Image.new("RGB", (30, 20)), tmp_path)
    assert part["topic"] == "photo.embedded.v1"
    assert (part["stage"], part["engine"]) == ("embedder", "stub")
    assert np.allclose(part["vector"], [0.6, 0.8])
    assert part["labels"] == []

"""The photos are distinct, repeatable and of the size of the benchmark."""

import hashlib
import io
from pathlib import Path

from bench.imports import engines, photos
from PIL import Image


def test_photos_are_jpegs_of_their_size_and_weight() -> None:
    for number in range(16):
        data = photos.encoded(number)
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", photos.SIZE, "RGB")
        assert 20_000 <= len(data) <= 40_000


def test_no_two_have_the_same_bytes_and_every_run_makes_the_same(tmp_path: Path) -> None:
    made = photos.make(tmp_path, 300)

    assert len(made) == len(set(made.values())) == 300
    for number in (0, 299):
        path = tmp_path / "0000" / f"{number:07}.jpg"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == made[str(path)]
        assert path.read_bytes() == photos.encoded(number)


def test_the_empty_detector_is_sure_of_some_and_unsure_of_others() -> None:
    sure = [
        engines.EmptyDetector().detect([Image.open(io.BytesIO(photos.encoded(number)))])[0]
        for number in range(60)
    ]
    confidences = [one.labels[0].confidence for one in sure]
    assert any(one > 0.8 for one in confidences)
    assert any(one < 0.5 for one in confidences)
    assert any(0.5 <= one <= 0.8 for one in confidences)

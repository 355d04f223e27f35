"""RapidOCR's networks on rendered text and real photographs."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from rapidocr import RapidOCR
from rapidocr.utils.download_file import DownloadFile

from ocr.engines import OcrEngine, TextLine, rapidocr_engine
from ocr.engines.choice import load
from ocr.settings import Settings
from stage_part import whole
from stagekit import Photo


def _file_of(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / path


def _photo(name: str) -> Image.Image:
    return Image.open(_file_of("skimage", f"data/{name}")).convert("RGB")


def _font(size: int, name: str = "DejaVuSans") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_file_of("matplotlib", f"mpl-data/fonts/ttf/{name}.ttf"), size)


def _written(
    *lines: str, size: tuple[int, int] = (640, 240), ink: int = 0, ground: int = 255
) -> Image.Image:
    """Lines in DejaVu Sans of 32 px, 80 px apart, the first at (40, 40)."""
    image = Image.new("RGB", size, (ground,) * 3)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((40, 40 + 80 * number), line, (ink,) * 3, _font(32))
    return image


def _settings(*flags: str) -> Settings:
    return Settings.from_command_line("ocr", ["--ocr-engine=rapidocr", *flags])


def _read(engine: OcrEngine, image: Image.Image) -> list[TextLine]:
    """As a stage has the photo: a rendition of at most 2048 px, and its original behind it."""
    rendition = image.copy()
    rendition.thumbnail((2048, 2048))
    photo = Photo.of(rendition, image) if rendition.size != image.size else Photo.of(image)
    return whole(engine.read(photo))


def _texts(engine: OcrEngine, image: Image.Image) -> list[str]:
    return [line.text for line in _read(engine, image)]


@pytest.fixture(scope="module")
def engine() -> OcrEngine:
    return load(_settings("--ocr-threads=2"))


def test_the_engine_names_its_weights(engine: OcrEngine) -> None:
    assert (engine.name, engine.model_version) == ("rapidocr", "pp-ocrv6-small@da2d61aa80af")


def test_rendered_lines_are_read_exactly_and_in_order(engine: OcrEngine) -> None:
    lines = _read(engine, _written("The quick brown fox 42", "jumps over the lazy dog."))
    assert [line.text for line in lines] == ["The quick brown fox 42", "jumps over the lazy dog."]
    assert all(line.confidence > 0.9 for line in lines)


def test_words_lie_where_they_were_drawn(engine: OcrEngine) -> None:
    text, font = "The quick brown fox", _font(32)
    image = _written(text)
    (line,) = _read(engine, image)
    assert [word.text for word in line.words] == text.split()
    for word in line.words:
        start = 40 + font.getlength(text[: text.index(word.text)])
        end = start + font.getlength(word.text)
        (left, top), (right, _), (_, bottom), _ = word.polygon
        assert left * image.width == pytest.approx(start, abs=16)
        assert right * image.width == pytest.approx(end, abs=16)
        assert top * image.height < 60 < bottom * image.height
        assert word.confidence > 0.9


@pytest.mark.parametrize(("degrees", "first_corner"), [(180, (1, 1)), (-90, (1, 0)), (90, (0, 1))])
def test_a_turned_page_is_read_in_its_own_order_and_corners_follow_the_text(
    engine: OcrEngine, degrees: int, first_corner: tuple[int, int]
) -> None:
    image = _written("Turned around twice", "and read on").rotate(degrees, expand=True)
    line, below = _read(engine, image)
    xs, ys = zip(*line.polygon, strict=True)
    assert (line.text, below.text) == ("Turned around twice", "and read on")
    assert [word.text for word in line.words] == ["Turned", "around", "twice"]
    assert line.polygon[0][0] == pytest.approx((min(xs), max(xs))[first_corner[0]], abs=0.02)
    assert line.polygon[0][1] == pytest.approx((min(ys), max(ys))[first_corner[1]], abs=0.02)


@pytest.mark.parametrize("degrees", [7, -14])
def test_a_page_that_was_laid_down_carelessly_is_read_as_well(
    engine: OcrEngine, degrees: int
) -> None:
    image = _written("Slanted by a little", "but read in order")
    turned = image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    assert _texts(engine, turned) == ["Slanted by a little", "but read in order"]


def test_columns_are_read_one_after_the_other(engine: OcrEngine) -> None:
    left = ["even there go think hand", "an other take think", "small could such"]
    right = ["never if first did", "them they give them it", "out more must this before"]
    image = Image.new("RGB", (700, 200), "white")
    for number, (one, other) in enumerate(zip(left, right, strict=True)):
        ImageDraw.Draw(image).text((20, 30 + 45 * number), one, "black", _font(22))
        ImageDraw.Draw(image).text((380, 30 + 45 * number), other, "black", _font(22))
    assert _texts(engine, image) == left + right


def test_small_print_on_a_small_scan_is_found(engine: OcrEngine) -> None:
    lines = _texts(engine, _photo("page.png"))
    assert lines[:6] == [
        "Region-based segmentation",
        "Let us first determine markers of the coins and the",
        "background. These markers are pixels that we can label",
        "unambiguously as either object or background. Here,",
        "the markers are found at the two extreme parts of the",
        "histogram of grey values:",
    ]


def test_small_print_of_a_large_photo_is_read_from_the_original(engine: OcrEngine) -> None:
    image = Image.new("RGB", (3000, 4000), (205, 190, 170))
    draw = ImageDraw.Draw(image)
    draw.rectangle((900, 300, 2100, 3700), fill=(245, 245, 240))
    entries = ["Coffee beans", "12.34", "Bread and butter", "5.60", "Apples", "0.99"]
    for number, entry in enumerate(entries):
        place = (1000 + 700 * (number % 2), 1500 + 44 * (number // 2))
        draw.text(place, entry, (50, 50, 50), _font(24))
    assert _texts(engine, image) == entries


@pytest.mark.parametrize(("ink", "ground"), [(200, 225), (215, 200), (60, 40)])
def test_faint_letters_are_read(engine: OcrEngine, ink: int, ground: int) -> None:
    image = _written("Faint letters 42", ink=ink, ground=ground)
    assert _texts(engine, image) == ["Faint letters 42"]


def test_a_panorama_ten_pixels_high_is_read_once_from_end_to_end(engine: OcrEngine) -> None:
    image, x = Image.new("RGB", (20_000, 10), "white"), 3000.0
    text = " ".join(f"word {n} of many" for n in range(2, 20))
    ImageDraw.Draw(image).text((x, -1), text, "black", _font(9))
    (line,) = _read(engine, image)
    assert line.text == text
    assert line.polygon[0][0] == pytest.approx(x / image.width, abs=0.001)
    assert line.polygon[1][0] == pytest.approx((x + _font(9).getlength(text)) / 20_000, abs=0.001)


def test_signs_far_apart_on_a_panorama_are_found(engine: OcrEngine) -> None:
    image = Image.new("RGB", (6000, 500), (200, 215, 230))
    for number in range(4):
        ImageDraw.Draw(image).text((300 + 1400 * number, 200), f"Sign {number}", "black", _font(60))
    assert _texts(engine, image) == [f"Sign {number}" for number in range(4)]


def test_lines_are_read_as_rapidocr_reads_them(engine: OcrEngine) -> None:
    image = _written(
        "The quick brown fox 42", "jumps over the lazy dog.", "and rests", size=(640, 300)
    )
    rapidocr = RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": 2,
        }
    )
    at_once: Any = rapidocr(np.asarray(image)[:, :, ::-1])
    read = _read(engine, image)
    assert [line.text for line in read] == list(at_once.txts)
    for line, score in zip(read, at_once.scores, strict=True):
        assert line.confidence > score - 0.02
    for line, box in zip(read, at_once.boxes, strict=True):
        corners = [(x * image.width, y * image.height) for x, y in line.polygon]
        assert np.array(corners) == pytest.approx(box, abs=6)


def test_other_work_may_go_first_after_each_look_and_each_line(engine: OcrEngine) -> None:
    two_lines = engine.read(Photo.of(_written("The quick brown fox 42", "jumps over the dog.")))
    assert len(list(two_lines)) == 3


def test_another_picture_may_be_read_between_two_slices(engine: OcrEngine) -> None:
    first, other = _written("This came first", "and is long"), _written("Urgent")
    slices = engine.read(Photo.of(first))
    next(slices)
    assert _texts(engine, other) == ["Urgent"]
    assert whole(slices) == _read(engine, first)


def test_a_picture_may_be_given_back_between_two_slices(engine: OcrEngine) -> None:
    image = _written("Once more", "with feeling")
    slices = engine.read(Photo.of(image))
    next(slices)
    slices.close()
    assert _texts(engine, image) == ["Once more", "with feeling"]


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg", "brick.png"])
def test_textures_of_photos_are_not_taken_for_text(engine: OcrEngine, name: str) -> None:
    photo = engine.read(Photo.of(_photo(name)))
    assert whole(photo) == []


def test_a_photo_without_text_is_looked_at_once(engine: OcrEngine) -> None:
    assert len(list(engine.read(Photo.of(_photo("astronaut.png"))))) == 1


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (1, 2048), (2048, 1), (12, 2048), (2048, 12), (64, 64), (9, 9000)]
)
def test_an_empty_picture_of_any_shape_has_no_text(
    engine: OcrEngine, size: tuple[int, int]
) -> None:
    assert _read(engine, Image.new("RGB", size, "white")) == []


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_what_was_no_rgb_picture_is_read_as_well(engine: OcrEngine, mode: str) -> None:
    image = _written("Shades of grey").convert(mode).convert("RGB")
    assert _texts(engine, image) == ["Shades of grey"]


def test_corners_are_fractions_even_where_text_touches_the_edge(engine: OcrEngine) -> None:
    image = _written("Cropped closely").crop((42, 44, 300, 76))
    (line,) = _read(engine, image)
    polygons = [line.polygon, *(word.polygon for word in line.words)]
    places = [n for polygon in polygons for point in polygon for n in point]
    assert line.text == "Cropped closely"
    assert min(places) >= 0.0
    assert max(places) <= 1.0


def test_reading_twice_gives_the_same(engine: OcrEngine) -> None:
    image = _written("Once and again")
    assert _read(engine, image) == _read(engine, image)


def test_nothing_is_ever_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(DownloadFile, "run", refuse)
    rapidocr_engine.load(["en"], threads=1, detection_side=640, min_confidence=0.7)


def test_a_missing_model_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="lacks its model PP-OCRv9"):
        rapidocr_engine.model_file("PP-OCRv9.onnx")


def test_the_engine_keeps_off_the_standard_streams(capfd: pytest.CaptureFixture[str]) -> None:
    quiet = rapidocr_engine.load(["en"], threads=1, detection_side=640, min_confidence=0.7)
    _read(quiet, Image.new("RGB", (64, 64), "white"))
    assert capfd.readouterr() == ("", "")


def test_lines_below_the_wanted_confidence_are_dropped() -> None:
    strict = load(_settings("--ocr-threads=2", "--ocr-min-confidence=1"))
    assert _read(strict, _written("Not sure enough, ever")) == []

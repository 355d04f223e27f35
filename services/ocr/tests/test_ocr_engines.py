"""The choice of an engine, and the built-in one on rendered text and real photographs."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont
from rapidocr.utils.download_file import DownloadFile

from ocr.engines import OcrEngine, load
from ocr.engines.rapidocr_engine import RapidOcrEngine, model_file
from ocr.settings import Settings, omp_threads
from streamkit import Reject, Retry, UnknownEngineError


def _file_of(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / path


def _photo(name: str) -> Image.Image:
    return Image.open(_file_of("skimage", f"data/{name}")).convert("RGB")


def _written(*lines: str, size: tuple[int, int] = (640, 240)) -> Image.Image:
    """Lines in DejaVu Sans of 32 px, 80 px apart, the first at (40, 40)."""
    font = ImageFont.truetype(_file_of("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"), 32)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((40, 40 + 80 * number), line, "black", font)
    return image


def _settings(*flags: str) -> Settings:
    return Settings.from_command_line("ocr", list(flags))


@pytest.fixture(scope="module")
def engine() -> OcrEngine:
    return load(_settings("--ocr-threads=2"))


def test_auto_is_the_engine_whose_weights_are_installed(engine: OcrEngine) -> None:
    assert engine.name == "rapidocr"
    assert engine.model_version == "pp-ocrv6-small@5b9689ecdafb"


def test_rendered_lines_are_read_exactly_and_in_order(engine: OcrEngine) -> None:
    lines = engine.read(_written("The quick brown fox 42", "jumps over the lazy dog."))
    assert [line.text for line in lines] == ["The quick brown fox 42", "jumps over the lazy dog."]
    assert all(line.confidence > 0.9 for line in lines)


def test_words_lie_where_they_were_drawn(engine: OcrEngine) -> None:
    text = "The quick brown fox"
    image = _written(text)
    font = ImageFont.truetype(_file_of("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"), 32)
    (line,) = engine.read(image)
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
def test_turned_text_is_read_and_its_corners_follow_the_text(
    engine: OcrEngine, degrees: int, first_corner: tuple[int, int]
) -> None:
    image = _written("Turned around twice").rotate(degrees, expand=True)
    (line,) = engine.read(image)
    xs, ys = zip(*line.polygon, strict=True)
    assert line.text == "Turned around twice"
    assert [word.text for word in line.words] == ["Turned", "around", "twice"]
    assert line.polygon[0][0] == pytest.approx((min(xs), max(xs))[first_corner[0]], abs=0.02)
    assert line.polygon[0][1] == pytest.approx((min(ys), max(ys))[first_corner[1]], abs=0.02)


def test_small_print_on_a_small_scan_is_found(engine: OcrEngine) -> None:
    text = [line.text for line in engine.read(_photo("page.png"))]
    assert "Region-based segmentation" in text
    assert "unambiguously as either object or background. Here," in text


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg"])
def test_textures_of_photos_are_not_taken_for_text(engine: OcrEngine, name: str) -> None:
    assert engine.read(_photo(name)) == []


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (1, 2048), (2048, 1), (12, 2048), (2048, 12), (64, 64)]
)
def test_an_empty_picture_of_any_shape_has_no_text(
    engine: OcrEngine, size: tuple[int, int]
) -> None:
    assert engine.read(Image.new("RGB", size, "white")) == []


def test_a_grey_picture_is_read_as_well(engine: OcrEngine) -> None:
    (line,) = engine.read(_written("Shades of grey").convert("L"))
    assert line.text == "Shades of grey"


def test_corners_are_fractions_even_where_text_touches_the_edge(engine: OcrEngine) -> None:
    image = _written("Cropped closely").crop((42, 44, 300, 76))
    (line,) = engine.read(image)
    polygons = [line.polygon, *(word.polygon for word in line.words)]
    places = [n for polygon in polygons for point in polygon for n in point]
    assert min(places) >= 0.0
    assert max(places) <= 1.0


def test_reading_twice_gives_the_same(engine: OcrEngine) -> None:
    image = _written("Once and again")
    assert engine.read(image) == engine.read(image)


def test_nothing_is_ever_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(DownloadFile, "run", refuse)
    RapidOcrEngine.load(threads=1, detection_side=640, min_confidence=0.7)


def test_a_missing_model_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="lacks its model PP-OCRv9"):
        model_file("PP-OCRv9.onnx")


def test_the_engine_keeps_off_the_standard_streams(capfd: pytest.CaptureFixture[str]) -> None:
    engine = RapidOcrEngine.load(threads=1, detection_side=640, min_confidence=0.7)
    engine.read(Image.new("RGB", (64, 64), "white"))
    assert capfd.readouterr() == ("", "")


def test_lines_below_the_wanted_confidence_are_dropped() -> None:
    strict = load(_settings("--ocr-threads=2", "--ocr-min-confidence=1"))
    assert strict.read(_written("Not sure enough, ever")) == []


@pytest.mark.parametrize(
    ("raised", "instruction"),
    [
        (MemoryError(), Retry),
        (RuntimeError("BFCArena: Failed to allocate memory for requested buffer"), Retry),
        (RuntimeError("Non-zero status code returned while running Conv node"), Reject),
    ],
)
def test_a_lack_of_memory_is_retried_and_any_other_failure_rejects_the_photo(
    raised: Exception, instruction: type[Exception]
) -> None:
    class Failing:
        def preprocess_img(self, pixels: object) -> object:
            raise raised

    pipeline: Any = Failing()
    with pytest.raises(instruction, match=r"too little memory|engine_failed"):
        RapidOcrEngine(pipeline, "x", 0.7).read(Image.new("RGB", (64, 64)))


def test_an_unknown_engine_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UnknownEngineError, match="'tesseract' is not known; choose rapidocr"):
        load(_settings("--ocr-engine=tesseract"))


def test_another_engine_is_made_by_its_factory_from_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "class Engine:\n    name = 'mine'\n    model_version = 'mine@1'\n"
    factory = "def make(settings):\n    assert settings.ocr_threads == 2\n    return Engine()\n"
    (tmp_path / "an_ocr_of_mine.py").write_text(module + factory)
    monkeypatch.syspath_prepend(tmp_path)
    settings = _settings("--ocr-engine=an_ocr_of_mine:make", "--ocr-threads=2")
    assert load(settings).name == "mine"


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("", 0), ("many", 0)])
def test_threads_follow_omp_num_threads(
    monkeypatch: pytest.MonkeyPatch, value: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert omp_threads() == threads
    assert _settings().ocr_threads == threads

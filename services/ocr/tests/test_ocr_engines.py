"""The choice of an engine, and the built-in one on rendered text and real photographs."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from rapidocr import RapidOCR
from rapidocr.utils.download_file import DownloadFile

from ocr.engines import OcrEngine, load
from ocr.engines.rapidocr_engine import RapidOcrEngine, model_file
from ocr.settings import Settings, omp_threads
from stage_part import whole
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
    lines = whole(engine.read(_written("The quick brown fox 42", "jumps over the lazy dog.")))
    assert [line.text for line in lines] == ["The quick brown fox 42", "jumps over the lazy dog."]
    assert all(line.confidence > 0.9 for line in lines)


def test_words_lie_where_they_were_drawn(engine: OcrEngine) -> None:
    text = "The quick brown fox"
    image = _written(text)
    font = ImageFont.truetype(_file_of("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"), 32)
    (line,) = whole(engine.read(image))
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
    (line,) = whole(engine.read(image))
    xs, ys = zip(*line.polygon, strict=True)
    assert line.text == "Turned around twice"
    assert [word.text for word in line.words] == ["Turned", "around", "twice"]
    assert line.polygon[0][0] == pytest.approx((min(xs), max(xs))[first_corner[0]], abs=0.02)
    assert line.polygon[0][1] == pytest.approx((min(ys), max(ys))[first_corner[1]], abs=0.02)


def test_small_print_on_a_small_scan_is_found(engine: OcrEngine) -> None:
    assert [line.text for line in whole(engine.read(_photo("page.png")))] == [
        "Region-based segmentation",
        "Let us first determine markers of the coins and the",
        "background. These markers are pixels that we can label",
        "unambiguously as either object or background. Here,",
        "histogram of grey values:",
        ">>> markers = np.zeros like(coins)",
    ]


def test_lines_are_read_as_rapidocr_reads_them_all_at_once(engine: OcrEngine) -> None:
    image = _photo("page.png").resize((1152, 576))
    rapidocr = RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.return_word_box": True,
            "Det.limit_type": "max",
            "Det.limit_side_len": _settings().ocr_detection_side,
            "EngineConfig.onnxruntime.intra_op_num_threads": 2,
        }
    )
    at_once: Any = rapidocr(np.asarray(image)[:, :, ::-1])
    sure = sorted(
        (text, score)
        for text, score in zip(at_once.txts, at_once.scores, strict=True)
        if score >= 0.7
    )
    read = sorted((line.text, line.confidence) for line in whole(engine.read(image)))
    assert [text for text, _ in read] == [" ".join(text.split()) for text, _ in sure]
    assert [score for _, score in read] == pytest.approx([score for _, score in sure], abs=1e-3)


def test_other_work_may_go_first_before_each_line(engine: OcrEngine) -> None:
    two_lines = engine.read(_written("The quick brown fox 42", "jumps over the lazy dog."))
    assert len(list(two_lines)) == 2


def test_another_picture_may_be_read_between_two_slices(engine: OcrEngine) -> None:
    first, other = _written("This came first", "and is long"), _written("Urgent")
    slices = engine.read(first)
    next(slices)
    assert [line.text for line in whole(engine.read(other))] == ["Urgent"]
    assert whole(slices) == whole(engine.read(first))


def test_a_picture_may_be_given_back_between_two_slices(engine: OcrEngine) -> None:
    image = _written("Once more", "with feeling")
    slices = engine.read(image)
    next(slices)
    slices.close()
    assert [line.text for line in whole(engine.read(image))] == ["Once more", "with feeling"]


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg"])
def test_textures_of_photos_are_not_taken_for_text(engine: OcrEngine, name: str) -> None:
    assert whole(engine.read(_photo(name))) == []


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (1, 2048), (2048, 1), (12, 2048), (2048, 12), (64, 64)]
)
def test_an_empty_picture_of_any_shape_has_no_text(
    engine: OcrEngine, size: tuple[int, int]
) -> None:
    assert whole(engine.read(Image.new("RGB", size, "white"))) == []


def test_a_grey_picture_is_read_as_well(engine: OcrEngine) -> None:
    (line,) = whole(engine.read(_written("Shades of grey").convert("L")))
    assert line.text == "Shades of grey"


def test_corners_are_fractions_even_where_text_touches_the_edge(engine: OcrEngine) -> None:
    image = _written("Cropped closely").crop((42, 44, 300, 76))
    (line,) = whole(engine.read(image))
    polygons = [line.polygon, *(word.polygon for word in line.words)]
    places = [n for polygon in polygons for point in polygon for n in point]
    assert min(places) >= 0.0
    assert max(places) <= 1.0


def test_reading_twice_gives_the_same(engine: OcrEngine) -> None:
    image = _written("Once and again")
    assert whole(engine.read(image)) == whole(engine.read(image))


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
    whole(engine.read(Image.new("RGB", (64, 64), "white")))
    assert capfd.readouterr() == ("", "")


def test_lines_below_the_wanted_confidence_are_dropped() -> None:
    strict = load(_settings("--ocr-threads=2", "--ocr-min-confidence=1"))
    assert whole(strict.read(_written("Not sure enough, ever"))) == []


class FailingPipeline:
    """Finds one line, and fails at a step on the way to its text."""

    def __init__(self, step: str, raised: Exception) -> None:
        self._step = step
        self._raised = raised
        self.text_rec = SimpleNamespace(
            session=self._fail, resize_norm_img=lambda crop, _padded: crop
        )

    def preprocess_img(self, pixels: Any) -> tuple[Any, dict[str, Any]]:
        return pixels, {"preprocess": {"ratio_h": 1.0, "ratio_w": 1.0}}

    def detect_and_crop(self, pixels: Any, _operations: object) -> tuple[list[Any], Any]:
        self._fail_at("detection")
        corners = [[0, 0], [64, 0], [64, 8], [0, 8]]
        return [pixels[:8]], SimpleNamespace(boxes=np.array([corners], np.float32))

    def cls_and_rotate(self, crops: list[Any]) -> tuple[list[Any], Any]:
        self._fail_at("classification")
        return crops, SimpleNamespace(img_list=crops, cls_res=[("0", 1.0)])

    def _fail(self, *_: object) -> None:
        self._fail_at("recognition")

    def _fail_at(self, step: str) -> None:
        if step == self._step:
            raise self._raised


@pytest.mark.parametrize("step", ["detection", "classification", "recognition"])
@pytest.mark.parametrize(
    ("raised", "instruction"),
    [
        (MemoryError(), Retry),
        (RuntimeError("BFCArena: Failed to allocate memory for requested buffer"), Retry),
        (RuntimeError("Non-zero status code returned while running Conv node"), Reject),
    ],
)
def test_a_lack_of_memory_is_retried_and_any_other_failure_rejects_the_photo(
    step: str, raised: Exception, instruction: type[Exception]
) -> None:
    pipeline: Any = FailingPipeline(step, raised)
    with pytest.raises(instruction, match=r"too little memory|engine_failed"):
        whole(RapidOcrEngine(pipeline, "x", 0.7).read(Image.new("RGB", (64, 64))))


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

"""EasyOCR's networks on small pictures: they take seconds on a CPU."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from easyocr import Reader as StockReader
from PIL import Image, ImageDraw, ImageFont

from ocr.engines import OcrEngine, easyocr_engine
from ocr.engines.choice import ENGINES, load
from ocr.settings import Settings
from stage_part import whole
from stagekit import Photo
from streamkit import EngineLoadError

FLAGS = ("--ocr-engine=easyocr", "--ocr-device=cpu", "--ocr-threads=2")


def written(*lines: str) -> Image.Image:
    package = importlib.util.find_spec("matplotlib")
    assert package is not None
    fonts = Path(str(package.origin)).parent / "mpl-data/fonts/ttf"
    image = Image.new("RGB", (320, 30 + 50 * len(lines)), "white")
    for number, line in enumerate(lines):
        font = ImageFont.truetype(fonts / "DejaVuSans.ttf", 26)
        ImageDraw.Draw(image).text((20, 20 + 50 * number), line, "black", font)
    return image


@pytest.fixture(scope="module")
def engine() -> OcrEngine:
    return load(Settings.from_command_line("ocr", list(FLAGS)))


def test_the_engine_names_its_weights(engine: OcrEngine) -> None:
    assert engine.name == "easyocr"
    assert engine.model_version == "easyocr-1.7.2@1984b598e4c9"


@pytest.mark.parametrize(
    ("flag", "differs"),
    [
        ("--ocr-languages= en, en", False),
        ("--ocr-languages=de", True),
        ("--ocr-min-confidence=0.5", True),
        ("--ocr-device=auto", False),
    ],
)
def test_its_version_names_the_languages_and_what_else_changes_what_it_reads(
    monkeypatch: pytest.MonkeyPatch, flag: str, differs: bool
) -> None:
    made: list[object] = []
    monkeypatch.setattr(easyocr_engine, "load", lambda *given: made.append(given[-1]))
    ENGINES["easyocr"](Settings.from_command_line("ocr", [*FLAGS, flag]))
    assert bool(made[0]) is differs


def test_the_order_of_its_languages_is_no_other_version(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(easyocr_engine, "load", lambda *given: made.append(given[-1]))
    for languages in ("de,en", "en,de", "de,fr"):
        flag = f"--ocr-languages={languages}"
        ENGINES["easyocr"](Settings.from_command_line("ocr", [*FLAGS, flag]))
    assert made[0] == made[1] != made[2]


def test_words_are_found_read_and_joined_to_lines(engine: OcrEngine) -> None:
    first, second = whole(engine.read(Photo.of(written("Read by words 42", "and by lines"))))
    assert (first.text, second.text) == ("Read by words 42", "and by lines")
    assert [word.text for word in first.words] == ["Read", "by", "words", "42"]
    assert first.confidence > 0.9
    lefts = [word.polygon[0][0] for word in first.words]
    assert lefts == sorted(lefts)


def test_a_page_on_its_head_is_read_without_a_classifier(engine: OcrEngine) -> None:
    image = written("Go round twice", "and read on").rotate(180)
    lines = whole(engine.read(Photo.of(image)))
    assert [line.text for line in lines] == ["Go round twice", "and read on"]
    assert lines[0].polygon[0][0] > lines[0].polygon[1][0]


def test_no_text_is_an_empty_result(engine: OcrEngine) -> None:
    assert whole(engine.read(Photo.of(Image.new("RGB", (160, 96), (90, 120, 80))))) == []


@pytest.mark.filterwarnings("ignore")
def test_a_line_is_read_as_easyocr_itself_reads_it(engine: OcrEngine) -> None:
    image = written("Golden words")
    folder = str(easyocr_engine.packaged_weights())
    stock = StockReader(
        ["en"],
        gpu=False,
        model_storage_directory=folder,
        user_network_directory=folder,
        download_enabled=False,
        verbose=False,
    )
    ((corners, text, _),) = stock.readtext(np.asarray(image))
    (line,) = whole(engine.read(Photo.of(image)))
    assert line.text == text
    places = [(x * image.width, y * image.height) for x, y in line.polygon]
    assert np.array(places) == pytest.approx(np.array(corners), abs=10)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ocr-languages=fr"], r"weights for fr are not in .*latin_g2.pth.*DARKROOM_OCR_MODELS"),
        (["--ocr-languages=xx"], r"EasyOCR can't read xx; it reads abq, .*DARKROOM_OCR_LANGUAGES"),
        (["--ocr-models=/nowhere"], r"no folder /nowhere. Put their weights and craft_mlt_25k.pth"),
        (["--ocr-languages=th,ja"], r"no such combination as th, ja"),
    ],
)
def test_what_is_missing_is_named_with_its_cure(flags: list[str], message: str) -> None:
    with pytest.raises(EngineLoadError, match=message):
        load(Settings.from_command_line("ocr", [*FLAGS, *flags]))


def test_an_empty_folder_lacks_weights_and_stays_empty(tmp_path: Path) -> None:
    places = list(sys.path)
    settings = Settings.from_command_line("ocr", [*FLAGS, f"--ocr-models={tmp_path}"])
    with pytest.raises(EngineLoadError, match=r"weights for en are not in .*craft_mlt_25k.pth"):
        load(settings)
    assert list(tmp_path.iterdir()) == []
    assert sys.path == places

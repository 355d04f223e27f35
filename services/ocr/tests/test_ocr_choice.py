"""Which engine is taken, and what is said where one can't be loaded."""

import importlib.util
from pathlib import Path

import onnxruntime
import pytest

from ocr.engines import choice, rapidocr_engine
from ocr.engines.choice import automatic, load
from ocr.languages import wanted
from ocr.settings import Settings, omp_threads
from streamkit import EngineLoadError, UnknownEngineError


def _settings(*flags: str) -> Settings:
    return Settings.from_command_line("ocr", list(flags))


@pytest.mark.parametrize(
    ("device", "engine", "why"),
    [
        ("cpu", "rapidocr", "on a CPU it is the fastest"),
        ("cuda", "easyocr", "there is a CUDA device"),
    ],
)
def test_auto_says_which_engine_it_takes_and_why(device: str, engine: str, why: str) -> None:
    name, reason = automatic(_settings(f"--ocr-device={device}"))
    assert name == engine
    assert why in reason


@pytest.mark.parametrize(("there", "engine"), [(True, "easyocr"), (False, "rapidocr")])
def test_the_device_decides_where_none_is_set(
    monkeypatch: pytest.MonkeyPatch, there: bool, engine: str
) -> None:
    monkeypatch.setattr(choice, "_has_cuda", lambda: there)
    assert automatic(_settings())[0] == engine


def test_an_unknown_engine_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        UnknownEngineError, match="'tesseract' is not known; choose easyocr, rapidocr"
    ):
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


def _version(*flags: str) -> str:
    return load(_settings("--ocr-engine=rapidocr", *flags)).model_version


def test_the_version_names_what_of_the_settings_changes_what_is_read() -> None:
    usual = _version()
    assert "options" not in usual
    assert _version("--ocr-languages=de,en") == usual, "it reads all of its own at once"
    sure, side = _version("--ocr-min-confidence=0.9"), _version("--ocr-detection-side=960")
    assert sure.startswith(f"{usual}+options@")
    assert len({usual, sure, side}) == 3
    assert sure == _version("--ocr-min-confidence=0.90")


@pytest.mark.parametrize(
    ("setting", "languages"),
    [("en", ("en",)), (" en , de,,en ", ("en", "de")), ("ch_sim,en", ("ch_sim", "en"))],
)
def test_languages_are_a_comma_list(setting: str, languages: tuple[str, ...]) -> None:
    assert wanted(setting) == languages


def test_no_language_at_all_is_refused() -> None:
    with pytest.raises(EngineLoadError, match="no language is named; set DARKROOM_OCR_LANGUAGES"):
        wanted(" , ")


def test_a_language_that_rapidocr_can_not_read_is_named_with_those_it_can() -> None:
    with pytest.raises(EngineLoadError, match=r"can't read ru, th; it reads af, az, .*, uz\. Easy"):
        load(_settings("--ocr-engine=rapidocr", "--ocr-languages=en,ru,th"))


def test_rapidocr_knows_the_letters_of_every_language_it_claims_to_read() -> None:
    easyocr = importlib.util.find_spec("easyocr")
    assert easyocr is not None
    folder = Path(str(easyocr.origin)).parent / "character"
    model = rapidocr_engine.model_file("PP-OCRv6_rec_small.onnx")
    known = set(rapidocr_engine.characters_of(onnxruntime.InferenceSession(model)))
    lacking = {}
    for language in rapidocr_engine.READABLE:
        text = folder.joinpath(f"{language}_char.txt").read_text("utf-8-sig")
        letters = {char for char in text if not char.isspace()}
        lacking[language] = len(letters - known) / len(letters)
    assert max(lacking.values()) < 0.01
    assert lacking["de"] == lacking["fr"] == lacking["tr"] == 0


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("", 0), ("many", 0)])
def test_threads_follow_omp_num_threads(
    monkeypatch: pytest.MonkeyPatch, value: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert omp_threads() == threads
    assert _settings().ocr_threads == threads

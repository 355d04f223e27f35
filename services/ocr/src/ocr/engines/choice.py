"""Which engines there are, and which one is taken."""

import ctypes
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from ocr.engines import OcrEngine
from ocr.languages import wanted
from ocr.settings import DEFAULT_LANGUAGES, Settings
from stagekit import changed
from streamkit import load_engine, needing

_CUDA_DRIVER: Final = "libcuda.so.1"


_READING: Final = ("ocr_min_confidence", "ocr_detection_side")
"""Settings that change what any of the engines reads. Languages are not among them: RapidOCR reads
all of its own at once."""


def _rapidocr(settings: Settings) -> OcrEngine:
    from ocr.engines import rapidocr_engine

    return rapidocr_engine.load(
        wanted(settings.ocr_languages),
        settings.ocr_threads,
        settings.ocr_detection_side,
        settings.ocr_min_confidence,
        changed(settings, _READING),
    )


def _easyocr(settings: Settings) -> OcrEngine:
    from ocr.engines import easyocr_engine

    languages = wanted(settings.ocr_languages)
    return easyocr_engine.load(
        languages,
        settings.ocr_models,
        _device(settings),
        settings.ocr_threads,
        settings.ocr_detection_side,
        settings.ocr_min_confidence,
        _easyocr_options(settings, languages),
    )


def _easyocr_options(settings: Settings, languages: Collection[str]) -> dict[str, Any]:
    """Its weights are in the version, but which of them read, and which letters, the languages say;
    in any order."""
    options = changed(settings, _READING)
    if set(languages) != set(wanted(DEFAULT_LANGUAGES)):
        options["ocr_languages"] = sorted(languages)
    return options


ENGINES: Final[Mapping[str, Callable[[Settings], OcrEngine]]] = {
    "easyocr": _easyocr,
    "rapidocr": _rapidocr,
}
"""The built-in engines by name."""


def names() -> tuple[str, ...]:
    """Of the built-in engines."""
    return tuple(ENGINES)


def load(settings: Settings) -> OcrEngine:
    """The engine that the settings name, loaded; logs which and why.

    `package.module:factory` is called with the settings. Raises UnknownEngineError, EngineLoadError
    where its weights or a language are missing.
    """
    with needing("darkroom-ocr[torch]"):
        return load_engine(settings.ocr_engine, ENGINES, settings, default=automatic(settings))


def automatic(settings: Settings) -> tuple[str, str]:
    """The engine that `auto` means with these settings on this machine, and why."""
    if _device(settings) == "cpu":
        return "rapidocr", "on a CPU it is the fastest, and its weights come with the installation"
    return "easyocr", "there is a CUDA device, which RapidOCR's runtime can't use"


def _device(settings: Settings) -> str:
    if settings.ocr_device != "auto":
        return settings.ocr_device
    return "cuda" if _has_cuda() else "cpu"


def _has_cuda() -> bool:
    """Importing torch takes seconds and hundreds of MB; a machine without the driver is spared."""
    try:
        ctypes.CDLL(_CUDA_DRIVER)
        import torch
    except (OSError, ModuleNotFoundError):
        return False
    return torch.cuda.is_available()

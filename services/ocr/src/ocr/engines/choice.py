"""Which engines there are, and which one is taken."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Final

from ocr.engines import OcrEngine
from ocr.languages import wanted
from ocr.settings import Settings
from streamkit import load_engine

_CUDA_DRIVER: Final = "libcuda.so.1"


def _rapidocr(settings: Settings) -> OcrEngine:
    from ocr.engines import rapidocr_engine

    return rapidocr_engine.load(
        wanted(settings.ocr_languages),
        settings.ocr_threads,
        settings.ocr_detection_side,
        settings.ocr_min_confidence,
    )


def _easyocr(settings: Settings) -> OcrEngine:
    from ocr.engines import easyocr_engine

    return easyocr_engine.load(
        wanted(settings.ocr_languages),
        settings.ocr_models,
        _device(settings),
        settings.ocr_threads,
        settings.ocr_detection_side,
        settings.ocr_min_confidence,
    )


ENGINES: Final[Mapping[str, Callable[[Settings], OcrEngine]]] = {
    "easyocr": _easyocr,
    "rapidocr": _rapidocr,
}
"""The built-in engines by name."""


def load(settings: Settings) -> OcrEngine:
    """The engine that the settings name, loaded; logs which and why.

    `package.module:factory` is called with the settings. Raises UnknownEngineError, EngineLoadError
    where its weights or a language are missing.
    """
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
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()

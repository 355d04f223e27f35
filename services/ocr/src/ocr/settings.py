"""Settings of the ocr."""

import os
from typing import Final

from pydantic import Field

from stagekit import StageSettings

DEFAULT_LANGUAGES: Final = "en"


def omp_threads() -> int:
    """What OMP_NUM_THREADS says; 0 if it says nothing. ONNX Runtime itself does not read it."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() else 0


class Settings(StageSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    ocr_engine: str = Field(
        "auto", description="auto, rapidocr, easyocr, or package.module:factory"
    )
    ocr_languages: str = Field(
        DEFAULT_LANGUAGES,
        description="comma list of what is to be read, as en,de; an engine that can't says so",
    )
    ocr_models: str = Field(
        "",
        description="folder of EasyOCR's weights; empty: those of the installation",
    )
    ocr_device: str = Field(
        "auto", description="of easyocr: auto (CUDA if there is one), cpu, cuda:N"
    )
    ocr_threads: int = Field(
        default_factory=omp_threads,
        ge=0,
        description="CPU threads of the engine; 0: all cores; default: OMP_NUM_THREADS",
    )
    ocr_min_confidence: float = Field(
        0.7, ge=0, le=1, description="lines that the engine is less sure of are dropped"
    )
    ocr_detection_side: int = Field(
        0,
        ge=0,
        le=4096,
        description="pixels of the long side at the first look for text; 0: the engine's choice",
    )

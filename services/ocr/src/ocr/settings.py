"""Settings of the ocr."""

import os

from pydantic import Field

from stagekit import StageSettings


def omp_threads() -> int:
    """What OMP_NUM_THREADS says; 0 if it says nothing. ONNX Runtime itself does not read it."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() else 0


class Settings(StageSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    ocr_engine: str = Field("auto", description="auto, rapidocr, or package.module:factory")
    ocr_threads: int = Field(
        default_factory=omp_threads,
        ge=0,
        description="CPU threads of the engine; 0: all cores; default: OMP_NUM_THREADS",
    )
    ocr_min_confidence: float = Field(
        0.7, ge=0, le=1, description="lines that the engine is less sure of are dropped"
    )
    ocr_detection_side: int = Field(
        1600,
        ge=320,
        le=4096,
        description="pixels of the long side at which lines are searched; time grows by its square",
    )

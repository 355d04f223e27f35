"""Which files a version of a model may have."""

from pathlib import PurePosixPath
from typing import Final

SAFE_SUFFIXES: Final = (".safetensors", ".json", ".txt", ".model", ".onnx", ".tsv", ".jinja")
"""Of files that hold data alone; pickled weights run code where they are loaded."""

WEIGHTS: Final = (".safetensors", ".onnx")
"""Of files that hold weights."""


def is_safe(path: str) -> bool:
    """Whether a file, by its name, holds data alone."""
    return PurePosixPath(path).suffix.lower() in SAFE_SUFFIXES

"""Whether there is CUDA, without importing torch for the answer no."""

import ctypes
from functools import cache
from typing import Final

_DRIVER: Final = "libcuda.so.1"


@cache
def available() -> bool:
    """Whether torch is installed and can use a CUDA device here.

    Importing torch takes 3 s and 500 MB; a machine without the driver is spared that.
    """
    try:
        ctypes.CDLL(_DRIVER)
        import torch
    except (OSError, ModuleNotFoundError):
        return False
    return bool(torch.cuda.is_available())


def meant(device: str) -> bool:
    """Whether the setting `auto`, `cpu`, `cuda`, `cuda:1`, … means CUDA on this machine."""
    return available() if device == "auto" else device.startswith("cuda")

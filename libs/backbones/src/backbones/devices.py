"""Where a network runs, and what torch says when it can't."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from backbones import cuda
from backbones.errors import BackboneError


def chosen(device: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; other names are torch's."""
    return (
        torch.device("cuda" if cuda.available() else "cpu")
        if device == "auto"
        else torch.device(device)
    )


def ready(device: str, threads: int) -> torch.device:
    """The device, with torch's CPU threads set; 0 leaves them to torch."""
    if threads:
        torch.set_num_threads(threads)
    return chosen(device)


def precision(device: torch.device) -> AbstractContextManager[object]:
    """Half precision on CUDA, where it is twice as fast and more; float32 on a CPU.

    A CPU with bfloat16 would be faster by it as well, but answers otherwise: EfficientNet-Lite0's
    probabilities moved by up to 0.09.
    """
    if device.type != "cuda":
        return nullcontext()
    half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.autocast("cuda", dtype=half)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; to CUDA through pinned memory, so that the CPU need not wait."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@contextmanager
def torch_errors() -> Iterator[None]:
    """Maps what torch raises, and what transformers raises for a picture that it can't prepare.

    The CPU's allocator has no class of its own for a lack of memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except (RuntimeError, ValueError) as error:
        if "allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise BackboneError(str(error)) from error

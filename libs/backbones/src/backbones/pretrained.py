"""Loading what transformers saved: networks, image processors, tokenizers.

Never runs code from a checkpoint and never asks a network: `checkpoints.find` has found all files.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from backbones import manifest
from backbones.checkpoints import Checkpoint, CheckpointError

_ALWAYS: Final = {"local_files_only": True, "trust_remote_code": False}

_REFUSALS: Final = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    SafetensorError,
)
"""What transformers raises for files that it can't read, or needs a package for."""


def network(checkpoint: Checkpoint, auto_class: str, device: torch.device) -> Any:
    """The network of the checkpoint as `transformers.<auto_class>` makes it, ready for inference.

    In float32, whatever the weights were stored as. Raises CheckpointError where a file is damaged,
    where the checkpoint is of another kind, and where weights are missing, which transformers would
    replace by chance.
    """
    _check_weights(checkpoint)
    auto = _class(auto_class)
    with _explained(checkpoint, f"as {auto_class}"):
        made, report = auto.from_pretrained(
            checkpoint.folder,
            dtype=torch.float32,
            use_safetensors=None if checkpoint.allow_pickle else True,
            output_loading_info=True,
            **_ALWAYS,
        )
    _check_complete(checkpoint, made, report)
    return made.eval().requires_grad_(False).to(device)


def kind(checkpoint: Checkpoint) -> str:
    """The `model_type` that the checkpoint says it is of. Raises CheckpointError."""
    path = checkpoint.folder / manifest.CONFIG
    try:
        return str(json.loads(path.read_bytes())["model_type"])
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: it does not say of which kind it is.") from error


def image_processor(checkpoint: Checkpoint) -> Any:
    """What makes the network's input from pictures, as the checkpoint says. Raises as above."""
    return _part(checkpoint, "AutoImageProcessor", "for its preprocessing of pictures")


def tokenizer(checkpoint: Checkpoint) -> Any:
    """What makes the network's input from texts. Raises as above."""
    return _part(checkpoint, "AutoTokenizer", "for its tokenizer")


def _part(checkpoint: Checkpoint, auto_class: str, purpose: str) -> Any:
    with _explained(checkpoint, purpose):
        return _class(auto_class).from_pretrained(checkpoint.folder, **_ALWAYS)


def _class(name: str) -> Any:
    """Of transformers, which shall not draw bars into a service's log."""
    import transformers

    library: Any = transformers
    library.logging.disable_progress_bar()
    return getattr(library, name)


@contextmanager
def _explained(checkpoint: Checkpoint, purpose: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except _REFUSALS as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"The checkpoint {checkpoint.name} in {checkpoint.folder} can't be loaded {purpose}:"
            f" {type(error).__name__}: {reason}"
        ) from error


def _check_weights(checkpoint: Checkpoint) -> None:
    """Reads the table of contents of each file of weights; it tells half a file from a whole."""
    for name in checkpoint.files:
        if not name.endswith(".safetensors"):
            continue
        try:
            with safe_open(checkpoint.folder / name, framework="pt") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{checkpoint.folder / name} is damaged or incomplete ({error}): fetch it again."
            ) from error


def _check_complete(checkpoint: Checkpoint, made: nn.Module, report: dict[str, Any]) -> None:
    """Buffers may be missing: older checkpoints lack those that are computed."""
    missing = sorted(set(report["missing_keys"]) & {name for name, _ in made.named_parameters()})
    if missing:
        raise CheckpointError(
            f"The weights of {checkpoint.name} in {checkpoint.folder} lack {len(missing)} tensors,"
            f" such as {missing[0]}: they are not those of a {type(made).__name__}, or only a part."
        )

"""SigLIP and SigLIP2: pictures and texts as vectors that can be compared.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (2023); Tschannen et al., "SigLIP 2"
(2025). A picture and a text that fit have logits above 0: scale * cosine + bias, section 3.1 of the
first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from backbones import pretrained
from backbones.checkpoints import Checkpoint, CheckpointError
from backbones.devices import moved, precision, torch_errors

KINDS: Final = ("siglip", "siglip2")
"""Values of `model_type` in the configuration; SigLIP2 of a fixed resolution is the first."""

_MOST_PICTURES: Final = 16
_MOST_TEXTS: Final = 64
"""In one pass, so that memory stays bounded however many are asked for."""

T = TypeVar("T")
Rows = NDArray[np.float32]


class ImageTower:
    """Vectors of pictures. Blocks; not to be shared between threads.

    Raises MemoryError where host or device memory is short, BackboneError for whatever else torch
    refuses.
    """

    def __init__(
        self, features: Callable[..., Any], processor: Callable[..., Any], device: torch.device
    ) -> None:
        self._features, self._processor, self._device = features, processor, device
        self.dimension = self([Image.new("RGB", (64, 64))]).shape[1]

    def __call__(self, images: Sequence[Image.Image]) -> Rows:
        """(n, d) float32 of unit length, of RGB pictures of any size."""
        parts = [self._pass(batch) for batch in _batches(images, _MOST_PICTURES)]
        return np.concatenate(parts) if parts else np.empty((0, self.dimension), np.float32)

    def _pass(self, images: Sequence[Image.Image]) -> Rows:
        with torch.inference_mode(), torch_errors():
            inputs = self._processor(images=list(images), return_tensors="pt")
            return _unit_features(self._features, inputs, self._device)


class TextTower:
    """Vectors of texts; else like ImageTower."""

    def __init__(
        self, features: Callable[..., Any], tokenizer: Any, length: int, device: torch.device
    ) -> None:
        """`length`: tokens that the network takes; shorter texts are padded, as it was trained."""
        self._features, self._tokenizer, self._device = features, tokenizer, device
        self._length = length

    def __call__(self, texts: Sequence[str]) -> Rows:
        """(n, d) float32 of unit length. Texts are cut to what the network takes.

        In lower case, as both generations were trained.
        """
        parts = [self._pass(batch) for batch in _batches(texts, _MOST_TEXTS)]
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def _pass(self, texts: Sequence[str]) -> Rows:
        with torch.inference_mode(), torch_errors():
            inputs = self._tokenizer(
                [text.lower() for text in texts],
                padding="max_length",
                max_length=self._length,
                truncation=True,
                return_tensors="pt",
            )
            return _unit_features(self._features, inputs, self._device)


@dataclass(frozen=True, slots=True)
class Fit:
    """What the checkpoint has learned of how alike a picture and a text have to be."""

    scale: float
    bias: float

    def logits(self, images: Rows, texts: Rows) -> Rows:
        """(n, k): how well each of n pictures fits each of k texts; the sigmoid is a probability.

        0 is neutral: as likely that they fit as that they do not.
        """
        return _float32(self.scale * (images @ texts.T) + self.bias)


@dataclass(frozen=True, slots=True)
class Siglip:
    """Both towers of one checkpoint. Who drops a tower frees its memory."""

    version: str
    images: ImageTower
    texts: TextTower
    fit: Fit

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device) -> Self:
        """The towers on the device, the one of pictures warmed up. Raises CheckpointError."""
        model = pretrained.network(checkpoint, "AutoModel", device)
        if model.config.model_type not in KINDS:
            raise CheckpointError(
                f"The checkpoint {checkpoint.name} in {checkpoint.folder} is of the kind"
                f" {model.config.model_type!r}, not SigLIP: name one of {' or '.join(KINDS)}."
            )
        length = model.config.text_config.max_position_embeddings
        return cls(
            version=checkpoint.version,
            images=ImageTower(model.vision_model, pretrained.image_processor(checkpoint), device),
            texts=TextTower(model.text_model, pretrained.tokenizer(checkpoint), length, device),
            fit=Fit(scale=float(model.logit_scale.exp()), bias=float(model.logit_bias)),
        )


def _unit_features(
    features: Callable[..., Any], inputs: Mapping[str, Tensor], device: torch.device
) -> Rows:
    with precision(device):
        pooled = features(**{name: moved(tensor, device) for name, tensor in inputs.items()})
    unit = torch.nn.functional.normalize(pooled.pooler_output.float(), dim=-1)
    return _float32(unit.cpu().numpy())


def _float32(values: Any) -> Rows:
    rows: Rows = np.asarray(values, dtype=np.float32)
    return rows


def _batches(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]

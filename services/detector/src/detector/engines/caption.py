"""Captions by BLIP.

Li et al., "BLIP: Bootstrapping Language-Image Pre-training" (2022).
"""

from collections.abc import Sequence
from typing import Final

import torch
from PIL import Image

from backbones import pretrained
from backbones.checkpoints import Checkpoint
from backbones.devices import moved, precision, torch_errors

MOST_TOKENS: Final = 40
"""Of a caption; BLIP's are about 12. Without a bound a confused network goes on for minutes."""


class BlipCaptioner:
    """See Captioner. Takes the likeliest token at each step: equal pictures, equal captions."""

    name: Final = "blip"

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        """Loaded and warmed up. Raises CheckpointError."""
        self._model = pretrained.network(checkpoint, "BlipForConditionalGeneration", device)
        self._processor = pretrained.image_processor(checkpoint)
        self._tokenizer = pretrained.tokenizer(checkpoint)
        self.model_version = checkpoint.version
        self._device = device
        self.captions([Image.new("RGB", (64, 64))])

    def captions(self, images: Sequence[Image.Image]) -> list[str]:
        """See Captioner."""
        return [self._of(image) for image in images]

    def _of(self, image: Image.Image) -> str:
        """One picture at a time, so that a long caption of one does not hold up the others'."""
        with torch.inference_mode(), torch_errors(), precision(self._device):
            pixels = self._processor(images=[image], return_tensors="pt")["pixel_values"]
            (tokens,) = self._model.generate(
                pixel_values=moved(pixels, self._device),
                max_new_tokens=MOST_TOKENS,
                num_beams=1,
                do_sample=False,
            )
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text.strip()

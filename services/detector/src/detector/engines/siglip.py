"""SigLIP and SigLIP2: any labels, by comparing the picture with texts that name them."""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from backbones.checkpoints import Checkpoint
from backbones.siglip import Siglip, TextTower
from detector.categories import best_category
from detector.label_lists import LabelList


class SiglipLabeller:
    """See Labeller.

    A label's logit is that of the sigmoid, which is 0 where text and picture fit as likely as not:
    what "none of these" weighs. So p_i = e^l_i / (1 + sum of e^l_j) before any calibration.
    """

    name: Final = "siglip"
    none_logit: Final = 0.0

    def __init__(self, siglip: Siglip, labels: LabelList, prompts: Sequence[str]) -> None:
        """Each of `prompts` has a `{}` for the label; a label's vector is the mean of theirs.

        Labels and prompts are a part of its version: other ones answer otherwise.
        """
        said = json.dumps([labels.names, list(prompts)], ensure_ascii=False).encode()
        self.model_version = f"{siglip.version}-{hashlib.sha256(said).hexdigest()[:8]}"
        self.labels = labels.names
        self._categories = labels.categories
        self._texts = text_features(siglip.texts, labels.names, prompts)
        self._images, self._fit = siglip.images, siglip.fit

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, device: torch.device, labels: LabelList, prompts: Sequence[str]
    ) -> "SiglipLabeller":
        """The labeller on the device, warmed up; the tower of texts is not kept."""
        return cls(Siglip.load(checkpoint, device), labels, prompts)

    def logits(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """See Labeller."""
        return self._fit.logits(self._images(images), self._texts)

    def category(self, probabilities: NDArray[np.float64]) -> str | None:
        """See Labeller."""
        return best_category(probabilities, self._categories)


def text_features(
    texts: TextTower, labels: Sequence[str], prompts: Sequence[str]
) -> NDArray[np.float32]:
    """A vector of unit length for each label, (k, d): the mean of its prompts' vectors.

    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
    section 3.1.4: an ensemble in the space of the vectors costs no more than one prompt.
    """
    written = [prompt.replace("{}", label) for label in labels for prompt in prompts]
    vectors = texts(written).reshape(len(labels), len(prompts), -1).mean(axis=1)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit

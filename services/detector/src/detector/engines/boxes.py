"""Boxes by the checkpoints of object detection that transformers knows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from backbones import pretrained
from backbones.checkpoints import Checkpoint
from backbones.devices import moved, precision, torch_errors
from detector.engines import ASKED, DetectedObject

_LONGEST_TO_SHORTEST: Final = 16
"""Longer strips are padded to this: scaled down, their short side would have no pixel left."""

_LONGEST: Final = 2048
"""Pixels of a side, those of a rendition. OWLv2 pads to a square, which has to fit in memory."""

Found = Mapping[str, Any]
"""Of a picture, as transformers' post-processing gives it: scores, labels, boxes in pixels."""


@dataclass(frozen=True)
class Network:
    """A network of object detection with what it is fed beside the picture.

    `names`: of what it finds, by number. `asked`: input that is the same for every picture.
    """

    kind: str
    version: str
    model: Any
    processor: Any
    names: Mapping[int, str]
    device: torch.device
    asked: Mapping[str, Tensor] = field(default_factory=dict)

    def __call__(self, image: Image.Image) -> Any:
        """What transformers' post-processing takes."""
        inputs = {**self.asked, **self.processor(images=[image], return_tensors="pt")}
        with precision(self.device):
            outputs = self.model(**{name: moved(it, self.device) for name, it in inputs.items()})
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        return outputs


def load(checkpoint: Checkpoint, device: torch.device, queries: Sequence[str]) -> Network:
    """The checkpoint's network: for the things that it was trained on, or for `queries`.

    The first are DETR, RT-DETR, D-FINE, YOLOS and others; those of OWL-ViT and OWLv2 look for what
    they are asked for. Raises CheckpointError.
    """
    if pretrained.kind(checkpoint) in ASKED:
        return _asked_things(checkpoint, device, queries)
    model = pretrained.network(checkpoint, "AutoModelForObjectDetection", device)
    names = {int(number): str(name) for number, name in model.config.id2label.items()}
    return _network(checkpoint, model, names, device, {})


def _asked_things(checkpoint: Checkpoint, device: torch.device, queries: Sequence[str]) -> Network:
    model = pretrained.network(checkpoint, "AutoModelForZeroShotObjectDetection", device)
    asked = pretrained.tokenizer(checkpoint)(
        list(queries),
        padding="max_length",
        max_length=model.config.text_config.max_position_embeddings,
        truncation=True,
        return_tensors="pt",
    )
    return _network(checkpoint, model, dict(enumerate(queries)), device, asked)


def _network(
    checkpoint: Checkpoint,
    model: Any,
    names: Mapping[int, str],
    device: torch.device,
    asked: Mapping[str, Tensor],
) -> Network:
    processor = pretrained.image_processor(checkpoint)
    kind = model.config.model_type
    return Network(kind, checkpoint.version, model, processor, names, device, asked)


class TransformersBoxes:
    """See BoxFinder: at most `most` boxes a picture, of confidences above `threshold`.

    Pictures are looked at one by one: in a batch some of these networks pad them to one size, and
    would answer otherwise.
    """

    def __init__(self, network: Network, *, threshold: float, most: int) -> None:
        """Warmed up."""
        self.name = network.kind
        self.model_version = network.version
        self._network, self._threshold, self._most = network, threshold, most
        self.find([Image.new("RGB", (64, 64))])

    def find(self, images: Sequence[Image.Image]) -> list[tuple[DetectedObject, ...]]:
        """See BoxFinder. Of a box that fits several names, the one that fits best is told."""
        with torch.inference_mode(), torch_errors():
            return [self._of(image) for image in images]

    def _of(self, image: Image.Image) -> tuple[DetectedObject, ...]:
        shown, size = within_bounds(image)
        outputs = self._network(shown)
        (found,) = self._network.processor.post_process_object_detection(
            outputs, threshold=self._threshold, target_sizes=[(shown.height, shown.width)]
        )
        names = [self._network.names[int(label)] for label in found["labels"]]
        return objects(found, names, size, self._most)


def within_bounds(image: Image.Image) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, scaled down if it is larger than a rendition, and padded if it is a strip.

    And the width and height in pixels that it has then without the padding, which is black, below
    it or to its right.
    """
    longest = max(image.size)
    if longest > _LONGEST:
        sides = (max(1, round(side * _LONGEST / longest)) for side in image.size)
        image = image.resize((next(sides), next(sides)), Image.Resampling.BICUBIC)
    least = -(-max(image.size) // _LONGEST_TO_SHORTEST)
    if min(image.size) >= least:
        return image, image.size
    canvas = Image.new("RGB", (max(image.width, least), max(image.height, least)))
    canvas.paste(image, (0, 0))
    return canvas, image.size


def objects(
    found: Found, names: Sequence[str], size: tuple[int, int], most: int
) -> tuple[DetectedObject, ...]:
    """The `most` surest of what was found in a picture of that size (width, height) in pixels.

    What lies outside of the picture is cut off, and a box with nothing inside is left out.
    """
    every = _clipped(found, names, size)
    return tuple(sorted(every, key=lambda thing: -thing.confidence)[:most])


def _clipped(found: Found, names: Sequence[str], size: tuple[int, int]) -> Iterator[DetectedObject]:
    width, height = size
    scores, boxes = found["scores"].tolist(), found["boxes"].tolist()
    for name, score, box in zip(names, scores, boxes, strict=True):
        left, right = (min(max(at / width, 0.0), 1.0) for at in (box[0], box[2]))
        top, bottom = (min(max(at / height, 0.0), 1.0) for at in (box[1], box[3]))
        if right > left and bottom > top:
            yield DetectedObject(name, score, left, top, right - left, bottom - top)

"""RapidOCR (PP-OCRv6 small on ONNX Runtime) with the models that lie in its wheel.

Of RapidOCR the steps up to the recognised characters are used; words, order and what counts as
text are decided here.
"""

import hashlib
from collections.abc import Generator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rapidocr.main import RapidOCR, RapidOCRError
from rapidocr.utils.process_img import map_boxes_to_original

from ocr.engines import Reading, TextLine, TextWord
from ocr.geometry import Quad, reading_order, slice_of, turned
from ocr.words import Recognised, spans_of
from streamkit import Reject, Retry

_MODELS: Final = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
}
_LEAST_SIDE: Final = 8
"""Pixels; a line of text needs more to be read, and RapidOCR would enlarge thinner strips."""
_LONGEST_SIDE: Final = 2048
"""Pixels; characters are read at this size, that of a rendition."""
_SHORTEST_SEARCHED: Final = 800
"""Pixels of the long side; smaller pictures are enlarged to it, at most by 4, or lines of letters
below 10 px are overlooked (a scanned page of 384 x 191 px: 3 lines of 8, enlarged 7)."""
_UPSIDE_DOWN: Final = 0.9
"""Confidence from which RapidOCR turns a line by 180 degrees (its `cls_thresh`)."""
_LONE_CHARACTER: Final = 0.95
"""Confidence that a line of one character needs: textures often look like an 8 or a 0."""
_PADDED_ALIKE: Final = 6
"""Lines that RapidOCR pads to the width of the widest of them (its `rec_batch_num`)."""
_LEAST_PADDED: Final = 320 / 48
"""Width by height to which RapidOCR pads the shortest lines (its `rec_img_shape`)."""


class RapidOcrEngine:
    """See OcrEngine."""

    name: Final = "rapidocr"

    def __init__(self, pipeline: RapidOCR, model_version: str, min_confidence: float) -> None:
        self.model_version = model_version
        self._pipeline: Any = pipeline  # its own types say that each result may be None
        self._min_confidence = min_confidence

    @classmethod
    def load(cls, threads: int, detection_side: int, min_confidence: float) -> "RapidOcrEngine":
        """The engine, warmed up. `threads`: 0 for all cores. See Settings for the others.

        Raises FileNotFoundError if a model is not where the wheel should have put it: nothing is
        ever downloaded.
        """
        models = {step: model_file(name) for step, name in _MODELS.items()}
        cv2.setNumThreads(threads or -1)
        pipeline = RapidOCR(params=_parameters(models, threads, detection_side))
        pipeline(np.asarray(_sample()))
        return cls(pipeline, _version_of(list(models.values())), min_confidence)

    def read(self, image: Image.Image) -> Reading:
        """See OcrEngine. The first slice finds the lines, each further one reads a line."""
        if min(image.size) < _LEAST_SIDE:
            return []
        pixels = np.ascontiguousarray(np.asarray(_enlarged(image.convert("RGB")))[:, :, ::-1])
        try:
            found = yield from self._found(pixels)
        except Exception as error:  # RapidOCR, OpenCV and ONNX Runtime each raise their own
            if _is_lack_of_memory(error):
                raise Retry("The machine has too little memory left for this photo.") from error
            raise Reject("engine_failed", "The text reader could not read this photo.") from error
        lines = [(quad, _line(quad, line)) for quad, line in found if self._is_text(line)]
        return reading_order(lines)

    def _found(
        self, pixels: NDArray[np.uint8]
    ) -> Generator[None, None, list[tuple[Quad, Recognised]]]:
        """Every line with its corners, as the three networks see it.

        Lines go to the networks one by one: on one thread a line takes 25 to 150 ms, by its
        length, and no less in company.
        """
        scaled, operations = self._pipeline.preprocess_img(pixels)
        try:
            crops, found = self._pipeline.detect_and_crop(scaled, operations)
        except RapidOCRError:  # there are no lines
            return []
        upright = [_is_upright_strip(box) for box in found.boxes]
        height, width = pixels.shape[:2]
        mapped = map_boxes_to_original(found.boxes, operations, height, width)
        corners: NDArray[np.float64] = np.clip(mapped / (width, height), 0.0, 1.0)
        lines = []
        for crop, padded, corner, strip in zip(
            crops, _padded_shapes(crops), corners, upright, strict=True
        ):
            yield
            line, flipped = self._recognise(crop, padded)
            lines.append((turned(_quad(corner), int(strip) + 2 * int(flipped)), line))
        return lines

    def _recognise(self, crop: NDArray[np.uint8], padded: float) -> tuple[Recognised, bool]:
        """What stands on the picture of a line, and whether it stood on its head."""
        turns = self._pipeline.cls_and_rotate([crop])[1]
        (crop,), ((label, score),) = turns.img_list, turns.cls_res
        network = self._pipeline.text_rec
        seen = network.session(network.resize_norm_img(crop, padded)[np.newaxis])
        ((text, confidence),), (info,) = network.postprocess_op(
            seen, True, wh_ratio_list=[_shape_of(crop)], max_wh_ratio=padded
        )
        return _recognised(text, confidence, info), label == "180" and score > _UPSIDE_DOWN

    def _is_text(self, line: Recognised) -> bool:
        text = line.text.strip()
        least = self._min_confidence
        if len(text) == 1:
            least = max(least, _LONE_CHARACTER)
        return line.confidence >= least and any(char.isalnum() for char in text)


def _parameters(models: dict[str, Path], threads: int, detection_side: int) -> dict[str, Any]:
    """RapidOCR's settings, where they are not its own defaults.

    RapidOCR would enlarge every picture to 736 px on its short side to search lines in it; on
    rendered text of 10 to 32 px a bound for the long side found as much in half the time. Without
    an arena ONNX Runtime gives memory back after every photo (390 instead of 1,190 MB after one of
    2048 x 1536 px, at the same speed).
    """
    engine = "EngineConfig.onnxruntime"
    return {
        "Global.log_level": "critical",
        "Global.return_word_box": True,
        "Global.max_side_len": _LONGEST_SIDE,
        "Det.limit_type": "max",
        "Det.limit_side_len": detection_side,
        "Cls.cls_thresh": _UPSIDE_DOWN,
        f"{engine}.intra_op_num_threads": threads or -1,
        f"{engine}.inter_op_num_threads": 1,
        f"{engine}.enable_cpu_mem_arena": False,
    } | {f"{step}.model_path": str(path) for step, path in models.items()}


def model_file(name: str) -> Path:
    """Path of a model in the wheel. Raises FileNotFoundError."""
    path = Path(str(resources.files("rapidocr").joinpath("models", name)))
    if not path.is_file():
        raise FileNotFoundError(f"the rapidocr package lacks its model {name}")
    return path


def _version_of(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return f"pp-ocrv6-small@{digest.hexdigest()[:12]}"


def _sample() -> Image.Image:
    """A picture with text, so that warming up reaches all three networks, which load lazily."""
    image = Image.new("RGB", (320, 64), "white")
    ImageDraw.Draw(image).text((16, 16), "Darkroom", "black", ImageFont.load_default(32))
    return image


def _enlarged(image: Image.Image) -> Image.Image:
    factor = min(4.0, _SHORTEST_SEARCHED / max(image.size))
    if factor <= 1.0:
        return image
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)


def _is_lack_of_memory(error: Exception) -> bool:
    """ONNX Runtime and OpenCV have no class of their own for it."""
    signs = ("allocate memory", "bad_alloc", "insufficient memory")
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs)


def _is_upright_strip(box: NDArray[np.float32]) -> bool:
    """Whether RapidOCR takes the box for a line that runs down and turns it to the left.

    As its `get_rotate_crop_image` decides, on the corners in pixels of the scaled picture.
    """
    top_left, top_right, bottom_right, bottom_left = box
    width = max(_distance(top_left, top_right), _distance(bottom_right, bottom_left))
    height = max(_distance(top_left, bottom_left), _distance(top_right, bottom_right))
    return height / max(width, 1) >= 1.5


def _shape_of(crop: NDArray[np.uint8]) -> float:
    """Width by height."""
    return float(crop.shape[1] / crop.shape[0])


def _padded_shapes(crops: Sequence[NDArray[np.uint8]]) -> list[float]:
    """Width by height to which each line is padded before it is read.

    As RapidOCR pads lines that it reads together, six of like shape at a time: the network sees
    the padding too, and now and then takes a character for another if there is more or less of it.
    """
    shapes = [_shape_of(crop) for crop in crops]
    padded = [_LEAST_PADDED] * len(shapes)
    order = np.argsort(np.array(shapes))
    for first in range(0, len(order), _PADDED_ALIKE):
        alike = order[first : first + _PADDED_ALIKE]
        for index in alike:
            padded[index] = max(_LEAST_PADDED, shapes[alike[-1]])
    return padded


def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> int:
    return int(np.linalg.norm(a - b))


def _quad(corners: NDArray[np.float64]) -> Quad:
    a, b, c, d = ((float(x), float(y)) for x, y in corners)
    return a, b, c, d


def _recognised(text: str, score: float, info: Any) -> Recognised:
    """`info` is RapidOCR's WordInfo: characters grouped its way, each with its column."""
    columns = [column for word in info.word_cols for column in word]
    return Recognised(text, float(score), info.confs, columns, float(info.line_txt_len))


def _line(quad: Quad, line: Recognised) -> TextLine:
    words = tuple(
        TextWord(span.text, span.confidence, slice_of(quad, span.left, span.right))
        for span in spans_of(line)
    )
    return TextLine(" ".join(line.text.split()), line.confidence, quad, words)

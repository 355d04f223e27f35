"""PP-OCRv6 small on ONNX Runtime, with the models that lie in RapidOCR's wheel."""

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ocr.ctc import decoded
from ocr.joining import Seen
from ocr.languages import LATIN, check
from ocr.reader import Reader, ReaderPolicy
from ocr.regions import regions
from ocr.search import SearchPolicy
from ocr.sheet import Pixels
from ocr.warming import warmed
from ocr.words import Recognised

_DETECTION: Final = "PP-OCRv6_det_small.onnx"
_RECOGNITION: Final = "PP-OCRv6_rec_small.onnx"
_LINE_HEIGHT: Final = 48
"""Pixels; the recogniser was trained on lines of this height."""
_LONGEST_LINE: Final = 1600
"""Pixels; takes 115 ms on one core."""
_SHORTEST_LINE: Final = 96
"""Pixels to which shorter words are padded."""
_UNTURNED: Final = 0.93
"""Of 100 rendered lines of 1 to 3 words upside down, one was read surer than that, a word of three
letters; the least sure of them the right way up was at 0.95."""
_FIRST_SIDE: Final = 704
"""Pixels of the longer side of a photo at the first look: the detector sees that there is print
of 4 px."""
_MULTIPLE: Final = 32
"""The detector's sides must be multiples of it."""
_THIN: Final = 64
"""Pixels of a side of a picture that gets a frame ..."""
_FRAME: Final = 16
"""... of so many."""
_COLUMN: Final = 8
"""Pixels of a line that the recogniser takes for one column."""


_INPUT: Final = "x"
"""Name of both networks' input: batch x BGR x height x width, from -1 to 1."""

READABLE: Final = LATIN | {"ch_sim", "ch_tra", "ja"}
"""Languages whose letters the recogniser knows; it reads all of them at once, and Greek letters
without accents."""


class PaddleNetworks:
    """See Networks."""

    name: Final = "rapidocr"

    def __init__(self, detection: Path, recognition: Path, threads: int) -> None:
        self.model_version = _version_of([detection, recognition])
        self._detector = _session(detection, threads)
        self._recogniser = _session(recognition, threads)
        self._characters = characters_of(self._recogniser)

    def find(self, picture: Pixels) -> list[Seen]:
        """See Networks."""
        framed, left, top = _framed(picture)
        (found,) = self._detector.run(None, {_INPUT: _tensor(framed)[np.newaxis]})
        return [Seen(s.strip.moved(-left, -top, 1.0), s.score) for s in regions(found[0, 0])]

    def recognise(self, lines: Sequence[Pixels]) -> list[Recognised]:
        """See Networks. Shorter lines are padded to the width of the longest."""
        widest = max(_SHORTEST_LINE, *(line.shape[1] for line in lines))
        widest += -widest % _COLUMN
        batch = np.zeros((len(lines), 3, _LINE_HEIGHT, widest), np.float32)
        for place, line in zip(batch, lines, strict=True):
            place[:, :, : line.shape[1]] = _tensor(line)
        (seen,) = self._recogniser.run(None, {_INPUT: batch})
        return [
            decoded(columns, self._characters, line.shape[1] / _COLUMN)
            for columns, line in zip(seen, lines, strict=True)
        ]


def load(
    languages: Sequence[str],
    threads: int,
    detection_side: int,
    min_confidence: float,
    options: Mapping[str, Any] | None = None,
) -> Reader:
    """The engine, warmed up. `threads`: 0 for all cores. `options`: see Reader. The others: see
    Settings.

    Raises FileNotFoundError if a model is not where the wheel should have put it: nothing is ever
    downloaded.
    """
    check(languages, READABLE, "RapidOCR's model", "EasyOCR reads more, if its weights are there.")
    cv2.setNumThreads(threads or -1)
    networks = PaddleNetworks(model_file(_DETECTION), model_file(_RECOGNITION), threads)
    search = SearchPolicy(first_side=detection_side or _FIRST_SIDE)
    policy = ReaderPolicy(search, _LINE_HEIGHT, _LONGEST_LINE, min_confidence, _UNTURNED)
    return warmed(Reader(networks, policy, options))


def characters_of(recogniser: onnxruntime.InferenceSession) -> tuple[str, ...]:
    """What the recogniser knows, in the order of its classes."""
    known: str = recogniser.get_modelmeta().custom_metadata_map["character"]
    return (*known.splitlines(), " ")


def _framed(picture: Pixels) -> tuple[Pixels, int, int]:
    """The picture with a frame in the colour of its edge, as the detector needs it, and how wide
    that is on the left and at the top. Letters that touch an edge are overlooked without it."""
    height, width = picture.shape[:2]
    top, left = (_FRAME if side < _THIN else 0 for side in (height, width))
    bottom, right = top + -(height + 2 * top) % _MULTIPLE, left + -(width + 2 * left) % _MULTIPLE
    edge = np.concatenate((picture[0], picture[-1], picture[:, 0], picture[:, -1]))
    colour = np.median(edge, axis=0).tolist()
    framed = cv2.copyMakeBorder(
        picture, top, bottom, left, right, cv2.BORDER_CONSTANT, value=colour
    )
    return np.asarray(framed, np.uint8), left, top


def _session(model: Path, threads: int) -> Any:
    """Without an arena ONNX Runtime gives memory back after every photo (390 instead of 1,190 MB
    after one of 2048 x 1536 px, at the same speed)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def model_file(name: str) -> Path:
    """Path of a model in RapidOCR's wheel, which is not imported. Raises FileNotFoundError."""
    package = importlib.util.find_spec("rapidocr")
    path = Path(str(package.origin if package else "")).parent / "models" / name
    if not path.is_file():
        raise FileNotFoundError(f"the rapidocr package lacks its model {name}")
    return path


def _version_of(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return f"pp-ocrv6-small@{digest.hexdigest()[:12]}"


def _tensor(picture: Pixels) -> NDArray[np.float32]:
    """BGR x height x width, from -1 to 1."""
    scaled = picture[:, :, ::-1].astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))

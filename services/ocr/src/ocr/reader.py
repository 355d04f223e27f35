"""Reading a photo with the two networks of any engine: one finds lines, one reads them."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from ocr.cropping import Piece, pieces
from ocr.engines import Reading, TextLine, TextWord
from ocr.facing import Facing
from ocr.geometry import Quad, Strip, fractions
from ocr.joining import Seen
from ocr.order import reading_order
from ocr.search import SearchPolicy, search
from ocr.sheet import Pixels, Sheet
from ocr.words import Recognised, Span, whole_line
from stagekit import Photo, with_options
from streamkit import Instruction, Reject, Retry

_LEAST_SIDE: Final = 8
"""Pixels of the original; a line of text needs more to be read."""
_LEAST_OF_SHORT: Final = {1: 0.95, 2: 0.85, 3: 0.85}
"""Confidence that lines of so few characters need: textures often look like an 8 or a 0."""
_LARGEST_LONE: Final = 0.5
"""Of the shorter side of a photo: what is higher and looks like a lone 0 is a plate."""

T = TypeVar("T")


class Networks(Protocol):
    """What an engine brings. Called from one thread; blocks; raises what its library does."""

    @property
    def name(self) -> str:
        """Of the engine."""

    @property
    def model_version(self) -> str:
        """Names the weights."""

    def find(self, picture: Pixels) -> Sequence[Seen]:
        """Strips of the picture that may hold text; see `ocr.search.Find`."""

    def recognise(self, lines: Sequence[Pixels]) -> Sequence[Recognised]:
        """What stands on each of at most `together` pictures of lines."""


@dataclass(frozen=True, slots=True)
class ReaderPolicy:
    """How an engine's networks are used.

    `line_height` and `longest_line`: pixels of the pictures that `recognise` takes. `together`: how
    many at once. `most_lines`: of a photo; the largest are read. `min_confidence`: lines that are
    less sure are dropped. `unturned`: see `Facing`.
    """

    search: SearchPolicy
    line_height: int
    longest_line: int
    min_confidence: float
    unturned: float
    together: int = 1
    most_lines: int = 400


@dataclass(frozen=True, slots=True)
class _Line:
    """A strip in the direction of its text, after `way` quarter turns, and what stands in it."""

    strip: Strip
    way: int
    spans: Sequence[Span]
    confidence: float

    @property
    def text(self) -> str:
        return " ".join(span.text for span in self.spans)


class Reader:
    """An OcrEngine made of an engine's networks.

    `options`: what else of the settings changes what it reads; see `with_options`.
    """

    def __init__(
        self, networks: Networks, policy: ReaderPolicy, options: Mapping[str, Any] | None = None
    ) -> None:
        self.name = networks.name
        self.model_version = with_options(networks.model_version, options or {})
        self._networks = networks
        self._policy = policy

    def read(self, photo: Photo) -> Reading:
        """See OcrEngine. A slice is a tile that is searched, or `together` lines that are read."""
        if min(photo.original_size) < _LEAST_SIDE:
            return []
        sheet = Sheet(photo)
        try:
            seen = yield from search(sheet, self._networks.find, self._policy.search)
            read = yield from self._read(sheet, self._strips(seen))
        except Instruction:
            raise
        except Exception as error:  # each library raises its own
            if _is_lack_of_memory(error):
                raise Retry("The machine has too little memory left for this photo.") from error
            raise Reject("engine_failed", "The text reader could not read this photo.") from error
        kept = [line for line in read if self._is_text(line, sheet)]
        order = reading_order([line.strip for line in kept])
        return [_told(kept[index], sheet) for index in order]

    def _strips(self, seen: Sequence[Seen]) -> list[Strip]:
        """The largest ones, from top to bottom."""
        largest = sorted(seen, key=lambda s: -s.strip.length * s.strip.height)
        strips = [s.strip for s in largest[: self._policy.most_lines]]
        return sorted(strips, key=lambda strip: strip.y)

    def _read(self, sheet: Sheet, strips: Sequence[Strip]) -> Generator[None, None, list[_Line]]:
        """What stands in the strips, each read the way up that makes more sense."""
        facing, lines = Facing(self._policy.unturned), list[_Line]()
        for some in _chunks(strips, self._policy.together):
            way = facing.likely
            read = yield from self._lines(sheet, some, way)
            unsure = [i for i, line in enumerate(read) if 0 < line.confidence < facing.sure]
            other = yield from self._lines(sheet, [some[i] for i in unsure], 2 - way)
            for index, line in zip(unsure, other, strict=True):
                read[index] = max(read[index], line, key=lambda line: line.confidence)
            for line in read:
                facing.learn(line.way, line.confidence)
            lines += read
        return lines

    def _lines(
        self, sheet: Sheet, strips: Sequence[Strip], way: int
    ) -> Generator[None, None, list[_Line]]:
        """What stands in the strips after `way` quarter turns."""
        turned = [strip.turned(way) for strip in strips]
        said: list[list[tuple[Piece, Recognised]]] = [[] for _ in turned]
        for some in _chunks(self._cut(sheet, turned), self._policy.together):
            texts = self._networks.recognise([piece.pixels for _, piece in some])
            for (index, piece), text in zip(some, texts, strict=True):
                said[index].append((piece, text))
            yield
        return [_line(strip, way, texts) for strip, texts in zip(turned, said, strict=True)]

    def _cut(self, sheet: Sheet, strips: Sequence[Strip]) -> Iterator[tuple[int, Piece]]:
        """Pictures of the strips, one after the other, each with the number of its strip."""
        height, longest = self._policy.line_height, self._policy.longest_line
        for index, strip in enumerate(strips):
            for piece in pieces(sheet, strip, height, longest):
                yield index, piece

    def _is_text(self, line: _Line, sheet: Sheet) -> bool:
        if not any(char.isalnum() for char in line.text):
            return False
        if len(line.text) == 1:
            highest = _LARGEST_LONE * min(sheet.width, sheet.height)
            if line.strip.height > highest:
                return False
        least = _LEAST_OF_SHORT.get(len(line.text), 0.0)
        return line.confidence >= max(least, self._policy.min_confidence)


def _line(strip: Strip, way: int, said: Sequence[tuple[Piece, Recognised]]) -> _Line:
    spans = whole_line([(piece.left, piece.right, piece.in_word, text) for piece, text in said])
    count = sum(len(span.text) for span in spans)
    sure = sum(span.confidence * len(span.text) for span in spans)
    return _Line(strip, way, spans, sure / count if count else 0.0)


def _told(line: _Line, sheet: Sheet) -> TextLine:
    def placed(strip: Strip) -> Quad:
        return fractions(strip.corners, sheet.width, sheet.height)

    words = tuple(
        TextWord(span.text, span.confidence, placed(line.strip.part(span.left, span.right)))
        for span in line.spans
    )
    return TextLine(line.text, line.confidence, placed(line.strip), words)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """As `itertools.batched` of Python 3.12."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _is_lack_of_memory(error: Exception) -> bool:
    """ONNX Runtime and OpenCV have no class of their own for it, torch's is a RuntimeError."""
    signs = ("allocate memory", "bad_alloc", "insufficient memory", "out of memory")
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs)

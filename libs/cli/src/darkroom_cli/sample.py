"""The sample folder: photographs that installed packages ship, and the files people really have.

Nothing is downloaded and nothing is kept in the repository: scikit-image, scikit-learn and
matplotlib bring the photographs in their wheels: public domain or CC0 by their own notes, but for
china and flower of scikit-learn (CC BY 2.0, credited in its data folder).
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFilter, ImageFont

DOCUMENT_LINES = (
    "DARKROOM SUPPLY COMPANY",
    "Invoice 4711 of 12 March",
    "Developer and fixer, 24 bottles",
    "Matte paper, 100 sheets",
    "Red lamp with spare bulb",
    "Total 318.50 to be paid in April",
)
"""What is written on the document, line by line."""

_SKIMAGE = "skimage", "data"
_SKLEARN = "sklearn", "datasets/images"
_MATPLOTLIB = "matplotlib", "mpl-data/sample_data"
_PHOTOGRAPHS = {
    "astronaut.jpg": (*_SKIMAGE, "astronaut.png"),
    "cameraman.jpg": (*_SKIMAGE, "camera.png"),
    "chelsea-the-cat.jpg": (*_SKIMAGE, "chelsea.png"),
    "coffee.png": (*_SKIMAGE, "coffee.png"),
    "coins.jpg": (*_SKIMAGE, "coins.png"),
    "deep-field.jpg": (*_SKIMAGE, "hubble_deep_field.jpg"),
    "moon.png": (*_SKIMAGE, "moon.png"),
    "motorcycle.jpg": (*_SKIMAGE, "motorcycle_left.png"),
    "retina.jpg": (*_SKIMAGE, "retina.jpg"),
    "rocket.jpg": (*_SKIMAGE, "rocket.jpg"),
    "temple-in-china.jpg": (*_SKLEARN, "china.jpg"),
    "flower.jpg": (*_SKLEARN, "flower.jpg"),
    "grace-hopper.jpg": (*_MATPLOTLIB, "grace_hopper.jpg"),
}
_FORMATS = {".jpg": "JPEG", ".png": "PNG", ".avif": "AVIF", ".webp": "WEBP"}
_OPTIONS: dict[str, dict[str, int]] = {
    "JPEG": {"quality": 92},
    "PNG": {"compress_level": 6},
    "AVIF": {"quality": 80, "speed": 8, "max_threads": 1},  # one thread: the same bytes everywhere
    "WEBP": {"quality": 80},
}
_TURNED_LEFT = 6  # EXIF: turn the stored pixels a quarter to the right to see them upright


class SampleKind(StrEnum):
    """What a file is there to show."""

    PHOTO = "photo"
    DOCUMENT = "document"
    TURNED = "turned"
    DUPLICATE = "duplicate"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class SampleFile:
    """`text`: what is written on it. `same_as`: the file whose bytes it has. Both else None."""

    name: str
    kind: SampleKind
    text: str | None = None
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class SampleManifest:
    """The files that were written, in the order of their names."""

    folder: Path
    edition: int
    files: tuple[SampleFile, ...]

    def of(self, *kinds: SampleKind) -> tuple[SampleFile, ...]:
        """The files of these kinds."""
        return tuple(file for file in self.files if file.kind in kinds)


def make_sample(folder: Path, edition: int = 0) -> SampleManifest:
    """Writes the sample into `folder` (made if missing, files of the same names replaced).

    The same edition has the same bytes each time. Another edition has other bytes in every readable
    picture, by its description, and the same pixels: so it is new to a catalog that knows the
    first. Raises ValueError for a negative edition, FileNotFoundError if a package lacks its data.
    """
    if edition < 0:
        raise ValueError("editions count from 0")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for file, data in _files(edition):
        (folder / file.name).write_bytes(data)
        files.append(file)
    return SampleManifest(folder, edition, tuple(sorted(files, key=lambda file: file.name)))


def _files(edition: int) -> Iterator[tuple[SampleFile, bytes]]:
    yield from _photographs(edition)
    yield from _uncommon(edition)
    yield from _documents(edition)
    yield from _bad(edition)


def _photographs(edition: int) -> Iterator[tuple[SampleFile, bytes]]:
    for name in _PHOTOGRAPHS:
        yield SampleFile(name, SampleKind.PHOTO), _encoded(name, _photograph(name), edition)
    original = "astronaut.jpg"
    copy = SampleFile("copy-of-astronaut.jpg", SampleKind.DUPLICATE, same_as=original)
    yield copy, _encoded(original, _photograph(original), edition)


def _uncommon(edition: int) -> Iterator[tuple[SampleFile, bytes]]:
    """Photos in the colours and containers that trip programs up."""
    pictures = {
        "rocket-in-cmyk.jpg": _photograph("rocket.jpg").convert("CMYK"),
        "moon-16-bit.png": _sixteen_bit(_photograph("moon.png")),
        "flower-with-alpha.png": _vignette(_photograph("flower.jpg")),
        "temple-in-china.avif": _photograph("temple-in-china.jpg"),
    }
    for name, picture in pictures.items():
        yield SampleFile(name, SampleKind.PHOTO), _encoded(name, picture, edition)
    name = "motorcycle-animated.webp"
    eyes = [_packaged(*_SKIMAGE, f"motorcycle_{side}.png") for side in ("left", "right")]
    yield SampleFile(name, SampleKind.PHOTO), _encoded(name, eyes[0], edition, frames=eyes[1:])


def _documents(edition: int) -> Iterator[tuple[SampleFile, bytes]]:
    text = "\n".join(DOCUMENT_LINES)
    upright, turned = "document.jpg", "document-turned-by-exif.jpg"
    page = _document()
    yield SampleFile(upright, SampleKind.DOCUMENT, text), _encoded(upright, page, edition)
    left = page.transpose(Image.Transpose.ROTATE_90)
    data = _encoded(turned, left, edition, orientation=_TURNED_LEFT)
    yield SampleFile(turned, SampleKind.TURNED, text), data


def _bad(edition: int) -> Iterator[tuple[SampleFile, bytes]]:
    wall = _encoded("wall.jpg", _packaged(*_SKIMAGE, "brick.png"), edition)
    files = {
        "cut-off.jpg": wall[: len(wall) * 2 // 3],
        "empty.jpg": b"",
        "shopping-list.jpg": b"Not a photo at all:\n- fixer\n- two trays\n- a red lamp\n",
        "claims-900-megapixels.png": _claiming(30_000, 30_000),
    }
    for name, data in files.items():
        yield SampleFile(name, SampleKind.BAD), data


def _photograph(name: str) -> Image.Image:
    return _packaged(*_PHOTOGRAPHS[name])


@cache
def _packaged(package: str, inside: str, name: str) -> Image.Image:
    """A picture from an installed package, found without importing the package."""
    with Image.open(_data(package, inside, name)) as picture:
        picture.load()
        picture.info.clear()
        return picture.copy()


def _data(package: str, *inside: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed")
    return Path(spec.origin).parent.joinpath(*inside)


def _encoded(
    name: str,
    picture: Image.Image,
    edition: int,
    *,
    orientation: int = 1,
    frames: list[Image.Image] | None = None,
) -> bytes:
    """The bytes of a file of the type that `name` ends with; only its EXIF tells the edition."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.ImageDescription] = f"Darkroom sample, edition {edition}"
    kind = _FORMATS[Path(name).suffix]
    animation = {"save_all": True, "append_images": frames, "duration": 400} if frames else {}
    file = io.BytesIO()
    picture.save(file, kind, exif=exif, **_OPTIONS[kind], **animation)
    return file.getvalue()


def _document() -> Image.Image:
    # The basic layout engine is part of Pillow; another one would depend on the machine.
    letters = ImageFont.truetype(
        _data("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"),
        size=46,
        layout_engine=ImageFont.Layout.BASIC,
    )
    page = Image.new("RGB", (1200, 900), (252, 250, 244))
    draw = ImageDraw.Draw(page)
    draw.rectangle((30, 30, 1169, 869), outline=(120, 120, 120), width=3)
    for row, line in enumerate(DOCUMENT_LINES):
        draw.text((90, 110 + 120 * row), line, font=letters, fill=(20, 20, 30))
    return page


def _sixteen_bit(picture: Image.Image) -> Image.Image:
    levels = np.asarray(picture.convert("L")).astype(np.uint16) * 257  # 255 becomes 65,535
    return Image.fromarray(levels)


def _vignette(picture: Image.Image) -> Image.Image:
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).ellipse((20, 20, picture.width - 21, picture.height - 21), fill=255)
    result = picture.convert("RGBA")
    result.putalpha(mask.filter(ImageFilter.GaussianBlur(12)))
    return result


def _claiming(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(4096)))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")

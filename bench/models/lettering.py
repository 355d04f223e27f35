"""Text that is known, drawn as photographs show it: lines, pages, signs in photographs."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FONTS: Final[Mapping[str, str]] = {
    "sans": "DejaVuSans.ttf",
    "sans bold": "DejaVuSans-Bold.ttf",
    "sans oblique": "DejaVuSans-Oblique.ttf",
    "mono": "DejaVuSansMono.ttf",
    "serif": "DejaVuSerif.ttf",
    "serif italic": "DejaVuSerif-Italic.ttf",
    "times": "STIXGeneral.ttf",
    "times italic": "STIXGeneralItalic.ttf",
    "times bold": "STIXGeneralBol.ttf",
    "aileron": "",
}
"""matplotlib's, by a name for people; the last one is Pillow's own."""

SIZES: Final = (10, 12, 14, 18, 24, 32, 46)
ANGLES: Final = (0.0, 0.0, 0.0, -3.0, 3.0, -8.0, 8.0, -14.0, 14.0)
NOISES: Final = ("clean", "grain", "coarse", "blur", "soft", "pale", "faint", "dark", "squeezed")
"""Clean; grain of 12 or 30 levels; blurred by 0.8 or 1.4 px; grey on grey, 70 or 35 levels apart;
light on dark; as a JPEG of quality 15."""

_GRAIN: Final = {"grain": 12.0, "coarse": 30.0}
_BLUR: Final = {"blur": 0.8, "soft": 1.4}
_GREYS: Final = {"pale": (120, 190), "faint": (140, 175)}
_SQUEEZED: Final = 15

LINE_WIDTH: Final = 640
PAGE: Final = (3000, 4000)
"""Pixels: 12 megapixels, as a telephone takes of a page that is held upright."""
PAGE_PRINT: Final = 24
"""Pixels of the font on a page."""

_VOCABULARY: Final = (
    "account addition afternoon agreement although amount answer archive arrival article autumn "
    "balance bottle bridge building camera candle capital carriage central certain charge city "
    "clear coffee colour common company corner country county course cross daily darkroom December "
    "degree delivery developer discount district document double early eastern edge engine evening "
    "exchange express factory fashion figure filter final fixer flower fourth fresh garden general "
    "glass grain green harbour height history hotel invoice island January journey kitchen lamp "
    "language large leather letter library light little local machine market matte measure member "
    "metal middle minute mirror Monday morning mountain museum narrow nature negative northern "
    "notice number October office open orange order paper parcel passage people picture platform "
    "pocket point portrait postage price print public quality quarter quiet railway receipt red "
    "reference remain restaurant river road rubber Saturday school season second shutter silver "
    "single small south spare special square station street summer supply table ticket tower town "
    "travel tray tripod under upper valley village visit waiting warehouse water weather western "
    "winter wooden yellow young zone"
)
_WORDS: Final = _VOCABULARY.split()

_CODE: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789-/"
"""What codes are made of: nothing that people take for something else either."""

_ROWS_APART: Final = 1.9
_MARGIN: Final = 220
_SIGN_PRINT: Final = (22, 28, 36, 48)
"""Pixels of the font on a sign in a photograph."""


@dataclass(frozen=True, slots=True)
class Lettered:
    """A picture and what is written on it, its lines from top to bottom."""

    image: Image.Image
    text: str
    about: str


def line(seed: tuple[int, ...]) -> Lettered:
    """One line of text on an even ground: any font, size, angle and noise."""
    draw = np.random.default_rng(seed)
    font_name = str(draw.choice(list(FONTS)))
    size, angle = int(draw.choice(SIZES)), float(draw.choice(ANGLES))
    noise = str(draw.choice(NOISES))
    letters = font(font_name, size)
    text = _fitting(draw, letters, LINE_WIDTH)
    ink, ground = _colours(draw, noise)
    image = Image.new("RGB", (LINE_WIDTH + 80, 3 * size + 40), ground)
    ImageDraw.Draw(image).text((40, size + 10), text, ink, letters)
    turned = image.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=ground)
    about = f"{font_name}, {size} px, {angle:g} degrees, {noise}"
    return Lettered(_noisy(draw, turned, noise), text, about)


def page(rows: int, seed: tuple[int, ...]) -> Lettered:
    """A sheet of 12 megapixels with so many lines of small print, lit unevenly, with grain."""
    draw = np.random.default_rng(seed)
    name = str(draw.choice([name for name in FONTS if "times" not in name]))
    letters = font(name, PAGE_PRINT)
    lines = [_fitting(draw, letters, PAGE[0] // 2) for _ in range(rows)]
    image = Image.new("RGB", PAGE, (247, 245, 238))
    drawn = ImageDraw.Draw(image)
    for row, text in enumerate(lines):
        top = _MARGIN + round(row * _ROWS_APART * PAGE_PRINT)
        drawn.text((_MARGIN, top), text, (25, 25, 35), letters)
    return Lettered(_shaded(draw, image), "\n".join(lines), f"{rows} lines, {name}")


def document(rows: int, seed: tuple[int, ...]) -> Lettered:
    """A sheet with so many lines, however many they are: what keeps an engine busy for long."""
    draw = np.random.default_rng(seed)
    size = 16
    letters = font("sans", size)
    height = round(rows / 2 * 1.3 * size) + 80
    lines = [_fitting(draw, letters, 700) for _ in range(rows)]
    image = Image.new("RGB", (1560, height), (250, 250, 250))
    drawn = ImageDraw.Draw(image)
    for number, text in enumerate(lines):
        place = (40 + 760 * (number % 2), 40 + round(number // 2 * 1.3 * size))
        drawn.text(place, text, (20, 20, 20), letters)
    return Lettered(image, "\n".join(lines), f"{rows} lines in two columns")


def signed(photo: Image.Image, seed: tuple[int, ...]) -> Lettered:
    """A photograph with a sign in it: three to five lines, dark on light or light on dark."""
    draw = np.random.default_rng(seed)
    size = int(draw.choice([one for one in _SIGN_PRINT if one <= photo.height // 14]))
    letters = font(str(draw.choice(list(FONTS))), size)
    rows = int(draw.integers(3, 6))
    lines = [_fitting(draw, letters, photo.width * 0.6) for _ in range(rows)]
    width = round(max(letters.getlength(text) for text in lines)) + 2 * size
    height = round((rows * 1.5 + 1) * size)
    ink, ground = _colours(draw, str(draw.choice(["clean", "dark"])))
    sign = Image.new("RGB", (width, height), ground)
    drawn = ImageDraw.Draw(sign)
    for row, text in enumerate(lines):
        drawn.text((size, round((0.6 + 1.5 * row) * size)), text, ink, letters)
    image = photo.copy()
    left, top = (
        int(draw.integers(1 + most)) for most in (photo.width - width, photo.height - height)
    )
    image.paste(sign, (left, top))
    return Lettered(_noisy(draw, image, "grain"), "\n".join(lines), f"{rows} lines of {size} px")


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """One of FONTS. Raises FileNotFoundError if matplotlib is away."""
    if not FONTS[name]:
        default = ImageFont.load_default(size)
        if not isinstance(default, ImageFont.FreeTypeFont):
            raise FileNotFoundError("Pillow is built without FreeType")
        return default
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package matplotlib is not installed")
    file = Path(spec.origin).parent / "mpl-data/fonts/ttf" / FONTS[name]
    # The basic layout engine is part of Pillow; another one would depend on the machine.
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


def _fitting(draw: np.random.Generator, letters: ImageFont.FreeTypeFont, width: float) -> str:
    """Words, numbers, prices and codes, as many as fit, but no more than nine."""
    words = [_word(draw)]
    for _ in range(int(draw.integers(2, 9))):
        more = [*words, _word(draw)]
        if letters.getlength(" ".join(more)) > width:
            break
        words = more
    return " ".join(words)


def _word(draw: np.random.Generator) -> str:
    kind = draw.integers(12)
    if kind == 0:
        return f"{draw.integers(1, 1_000)}.{draw.integers(100):02}"
    if kind == 1:
        return str(draw.integers(1, 10_000))
    word = str(draw.choice(_WORDS))
    if kind == 5:
        return "".join(draw.choice(list(_CODE), 6))
    if kind == 2:
        return f"{word},"
    if kind == 3:
        return word.upper()
    return word.capitalize() if kind == 4 else word


_Colour = tuple[int, int, int]


def _colours(draw: np.random.Generator, noise: str) -> tuple[_Colour, _Colour]:
    """Ink and ground."""
    dark, light = int(draw.integers(0, 60)), int(draw.integers(205, 256))
    dark, light = _GREYS.get(noise, (dark, light))
    if noise == "dark":
        dark, light = light, dark
    tint = int(draw.integers(0, 20))
    return (dark, dark, min(255, dark + tint)), (light, light, max(0, light - tint))


def _noisy(draw: np.random.Generator, image: Image.Image, noise: str) -> Image.Image:
    if noise in _BLUR:
        return image.filter(ImageFilter.GaussianBlur(_BLUR[noise]))
    if noise in _GRAIN:
        return _grained(draw, np.asarray(image, np.float32), _GRAIN[noise])
    if noise == "squeezed":
        data = io.BytesIO()
        image.save(data, "JPEG", quality=_SQUEEZED)
        return Image.open(data).convert("RGB")
    return image


def _grained(
    draw: np.random.Generator, levels: NDArray[np.float32], deviation: float
) -> Image.Image:
    grain = draw.normal(0, deviation, (*levels.shape[:2], 1))
    return Image.fromarray(np.clip(levels + grain, 0, 255).astype(np.uint8))


def _shaded(draw: np.random.Generator, image: Image.Image) -> Image.Image:
    """As lit from one side, a little out of focus, with the grain of a telephone's sensor."""
    light = np.linspace(1.0, 0.6, image.width, dtype=np.float32)[None, :, None]
    soft = image.filter(ImageFilter.GaussianBlur(1.0))
    return _grained(draw, np.asarray(soft, np.float32) * light, 8.0)

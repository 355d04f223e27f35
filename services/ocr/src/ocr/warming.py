"""The first photo need not wait for what libraries do when they are first used."""

from PIL import Image, ImageDraw, ImageFont

from ocr.reader import Reader
from stagekit import Photo


def warmed(reader: Reader) -> Reader:
    """The reader, after a picture with text, so that both networks were used."""
    image = Image.new("RGB", (320, 64), "white")
    ImageDraw.Draw(image).text((16, 16), "Darkroom", "black", ImageFont.load_default(32))
    for _ in reader.read(Photo.of(image)):
        pass
    return reader

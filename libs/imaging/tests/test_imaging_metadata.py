"""Camera and time are kept, absurd values are not, and the place only where it is wanted."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from imaging import Metadata
from imaging.render import prepare

Encode = Callable[..., bytes]
GPS = {1: "S", 2: (33.0, 51.0, 24.84), 3: "E", 4: (151.0, 12.0, 54.7)}


def written(encode: Encode, kind: str = "JPEG", gps: Any = None, **tags: Any) -> bytes:
    exif = Image.Exif()
    for name in ("Make", "Model", "DateTime"):
        if name in tags:
            exif[ExifTags.Base[name]] = tags[name]
    inner = {
        ExifTags.Base[n]: tags[n] for n in tags if n.startswith("DateTime") and n != "DateTime"
    }
    if inner:
        exif[ExifTags.Base.ExifOffset] = inner
    if gps is not None:
        exif[ExifTags.Base.GPSInfo] = gps
    return encode(Image.new("RGB", (8, 8)), kind, exif=exif.tobytes())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_time_and_camera_are_read_from_every_container(encode: Encode, kind: str) -> None:
    data = written(
        encode, kind, Make="Lumen ", Model="Box 2", DateTimeOriginal="2019:07:21 18:05:09"
    )
    assert prepare(data).metadata == Metadata("2019-07-21T18:05:09", "Lumen", "Box 2")


def test_the_place_is_read_only_on_demand(encode: Encode) -> None:
    data = written(encode, gps=GPS)
    silent = prepare(data).metadata
    assert (silent.latitude, silent.longitude) == (None, None)
    kept = prepare(data, keep_gps=True).metadata
    assert kept.latitude == pytest.approx(-33.8569, abs=1e-6)
    assert kept.longitude == pytest.approx(151.2151944, abs=1e-6)


@pytest.mark.parametrize(
    "gps",
    [
        {},
        {1: "N", 2: (48.0, 8.0, 0.0)},
        {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (11.0, 0.0, 0.0)},
        {1: "N", 2: (48.0, 8.0), 3: "E", 4: (11.0, 0.0, 0.0)},
        {1: "N", 2: (IFDRational(0, 0),) * 3, 3: "E", 4: (11.0, 0.0, 0.0)},
    ],
    ids=["empty", "half", "beyond the pole", "two numbers", "nothing over nothing"],
)
def test_an_absurd_place_is_no_place(encode: Encode, gps: dict[int, Any]) -> None:
    kept = prepare(written(encode, gps=gps), keep_gps=True).metadata
    assert (kept.latitude, kept.longitude) == (None, None)


@pytest.mark.parametrize(
    "time",
    ["0000:00:00 00:00:00", "2019:02:30 10:00:00", "1066:10:14 09:00:00", "yesterday", "", " "],
)
def test_an_absurd_time_is_no_time(encode: Encode, time: str) -> None:
    assert prepare(written(encode, DateTimeOriginal=time)).metadata.taken_at is None


def test_the_time_of_scanning_stands_in_but_the_time_of_editing_does_not(encode: Encode) -> None:
    scanned = written(encode, DateTimeDigitized="2001:01:02 03:04:05")
    assert prepare(scanned).metadata.taken_at == "2001-01-02T03:04:05"
    assert prepare(written(encode, DateTime="2024:01:01 00:00:00")).metadata.taken_at is None


def test_names_are_bounded_and_free_of_control_characters(encode: Encode) -> None:
    data = written(encode, Make="Lu\x07men\x00garbage", Model="x" * 5000)
    kept = prepare(data).metadata
    assert kept.camera_make == "Lumen"
    assert kept.camera_model == "x" * 100


def test_a_blank_name_is_no_name(encode: Encode) -> None:
    assert prepare(written(encode, Make="   \x00")).metadata.camera_make is None

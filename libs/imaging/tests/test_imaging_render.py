"""Renditions, thumbnails, and what is refused once decoding starts."""

import io
import itertools
import random
from collections.abc import Callable

import pytest
from PIL import ExifTags, Image, ImageFile

from imaging import ImageRejected, Limits, RejectionCode, open_upright_rgb, sha256_file, sha256_hex
from imaging.render import prepare

Encode = Callable[..., bytes]


@pytest.fixture(scope="module")
def noise() -> Image.Image:
    return Image.frombytes("RGB", (200, 150), random.Random(1).randbytes(200 * 150 * 3))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_upright_small_jpeg_is_its_own_rendition(encode: Encode, mode: str) -> None:
    prepared = prepare(encode(Image.new(mode, (2048, 100)), "JPEG"))
    assert prepared.rendition is None
    assert (prepared.rendition_width, prepared.rendition_height) == (2048, 100)


def test_a_larger_jpeg_gets_a_rendition_of_2048_pixels(encode: Encode) -> None:
    prepared = prepare(encode(Image.new("RGB", (3000, 2250), (200, 10, 10)), "JPEG"))
    assert (prepared.width, prepared.height) == (3000, 2250)
    assert prepared.rendition is not None
    with Image.open(io.BytesIO(prepared.rendition)) as rendition:
        assert rendition.size == (2048, 1536)
        assert rendition.size == (prepared.rendition_width, prepared.rendition_height)
        assert (rendition.format, rendition.mode) == ("JPEG", "RGB")


def test_a_rendition_is_its_own_rendition(encode: Encode) -> None:
    rendition = prepare(encode(Image.new("RGB", (3000, 300)), "PNG")).rendition
    assert rendition is not None
    assert prepare(rendition).rendition is None


def test_a_large_turned_jpeg_is_upright_and_scaled(encode: Encode) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture = Image.new("RGB", (4200, 2800), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 4200, 1400))
    prepared = prepare(encode(picture, "JPEG", exif=exif))
    assert (prepared.width, prepared.height) == (2800, 4200)
    assert prepared.rendition is not None
    rendition = open_upright_rgb(prepared.rendition)
    assert rendition.size == (1365, 2048)
    assert rendition.getpixel((1200, 1000)) == (255, 255, 255)
    assert rendition.getpixel((150, 1000)) == (0, 0, 0)


def test_a_rendition_and_a_thumbnail_carry_no_metadata(encode: Encode) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "SECRET MAKER"
    picture = Image.new("RGB", (2100, 100))
    prepared = prepare(encode(picture, "JPEG", exif=exif, comment=b"SECRET COMMENT"))
    assert prepared.rendition is not None
    assert b"SECRET" not in prepared.rendition
    assert b"SECRET" not in prepared.thumbnail


def test_a_photo_that_tells_its_place_is_never_its_own_rendition(encode: Encode) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.GPSInfo] = {1: "N", 2: (48.0, 8.0, 0.0), 3: "E", 4: (11.0, 34.0, 0.0)}
    prepared = prepare(encode(Image.new("RGB", (300, 200)), "JPEG", exif=exif))
    assert prepared.rendition is not None
    with Image.open(io.BytesIO(prepared.rendition)) as rendition:
        assert not dict(rendition.getexif())


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\x00\x00no TIFF at all",
        b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + bytes(30),
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02\x01\x12\x00\x03",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x88\x25\x00\x04\x00\x00\x00\x01\x00\x00\xff\xff",
    ],
    ids=["no TIFF", "a directory far outside", "cut off", "a place far outside"],
)
def test_exif_that_may_tell_the_place_to_others_is_not_passed_on(
    encode: Encode, exif: bytes
) -> None:
    prepared = prepare(encode(Image.new("RGB", (300, 200)), "JPEG", exif=exif))
    assert prepared.rendition is not None
    assert b"Exif" not in prepared.rendition


_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PLACE = '<rdf:Description exif:GPSLatitude="48,8.0N"/>'


@pytest.mark.parametrize(
    "segments",
    [
        [_XMP + _PLACE.encode()],
        [_XMP + _PLACE.encode("utf-16")],
        [_XMP + _PLACE.encode(), _XMP + b"<rdf:Description/>"],
        [_XMP + b"<rdf:Description/>", b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)],
    ],
    ids=["plain", "UTF-16", "in the first of two packets", "perhaps, in extended XMP"],
)
def test_xmp_that_may_tell_the_place_is_not_passed_on(
    encode: Encode, segments: list[bytes]
) -> None:
    plain = encode(Image.new("RGB", (300, 200)), "JPEG")
    written = b"".join(b"\xff\xe1" + (len(s) + 2).to_bytes(2) + s for s in segments)
    prepared = prepare(plain[:2] + written + plain[2:])
    assert prepared.rendition is not None
    assert b"ns.adobe.com" not in prepared.rendition


def test_xmp_that_tells_no_place_costs_no_second_picture(encode: Encode) -> None:
    xmp = b"<rdf:Description dc:format='image/jpeg'/>"
    assert prepare(encode(Image.new("RGB", (300, 200)), "JPEG", xmp=xmp)).rendition is None


@pytest.mark.parametrize(
    ("size", "rendition", "thumbnail"),
    [
        ((1, 1), (1, 1), (1, 1)),
        ((20_000, 10), (2048, 1), (320, 1)),
        ((3, 9_000), (1, 2048), (1, 320)),
        ((640, 480), (640, 480), (320, 240)),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_extreme_shapes_keep_at_least_a_pixel(
    encode: Encode,
    mode: str,
    size: tuple[int, int],
    rendition: tuple[int, int],
    thumbnail: tuple[int, int],
) -> None:
    prepared = prepare(encode(Image.new(mode, size), "PNG"))
    assert (prepared.width, prepared.height) == size
    assert (prepared.rendition_width, prepared.rendition_height) == rendition
    assert open_upright_rgb(prepared.thumbnail).size == thumbnail


def test_reducing_in_strips_gives_the_same_picture_as_reducing_at_once(encode: Encode) -> None:
    """9000 x 1000 with alpha is reduced by 2 in several strips."""
    picture = Image.linear_gradient("L").resize((9000, 1000)).convert("RGBA")
    prepared = prepare(encode(picture, "PNG", compress_level=1))
    assert prepared.rendition is not None
    rendition = open_upright_rgb(prepared.rendition)
    assert rendition.size == (2048, 228)
    column = [rendition.getpixel((1000, y)) for y in range(228)]
    levels = [value[0] for value in column if isinstance(value, tuple)]
    assert levels[0] <= 4
    assert levels[-1] >= 251
    assert all(0 <= b - a <= 4 for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF"])
@pytest.mark.parametrize("part", [0.5, 0.95])
def test_a_truncated_picture_is_refused_as_cut_off(
    noise: Image.Image, encode: Encode, kind: str, part: float
) -> None:
    data = encode(noise, kind)
    with pytest.raises(ImageRejected) as refused:
        prepare(data[: int(len(data) * part)])
    assert refused.value.code == RejectionCode.IMAGE_TRUNCATED
    assert "cut off" in refused.value.message


def test_a_truncated_gif_is_refused(noise: Image.Image, encode: Encode) -> None:
    data = encode(noise, "GIF")
    with pytest.raises(ImageRejected):
        prepare(data[: len(data) // 2])


def test_a_progressive_jpeg_without_its_last_scans_is_refused(
    noise: Image.Image, encode: Encode
) -> None:
    data = encode(noise, "JPEG", progressive=True, quality=90)
    with pytest.raises(ImageRejected, match="cut off"):
        prepare(data[: len(data) * 2 // 3])


def test_truncated_pictures_are_refused_even_through_draft(encode: Encode) -> None:
    data = encode(Image.effect_noise((3000, 2000), 80), "JPEG")
    with pytest.raises(ImageRejected, match="cut off"):
        open_upright_rgb(data[: len(data) * 9 // 10], at_least=224)


def test_truncated_pictures_are_not_padded_by_pillow() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_damaged_data_is_refused_as_damaged(noise: Image.Image, encode: Encode) -> None:
    data = bytearray(encode(noise, "PNG"))
    data[1000:1400] = bytes(400)
    with pytest.raises(ImageRejected) as refused:
        prepare(bytes(data))
    assert refused.value.code == RejectionCode.IMAGE_CORRUPT


def test_random_damage_never_raises_anything_but_a_rejection(
    scene: Image.Image, encode: Encode
) -> None:
    dice = random.Random(7)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        whole = encode(scene, kind)
        for _ in range(40):
            data = bytearray(whole)
            for _ in range(6):
                data[dice.randrange(len(data))] = dice.randrange(256)
            try:
                prepare(bytes(data), Limits(max_pixels=1_000_000))
            except ImageRejected as refused:
                assert refused.message  # noqa: PT017


def test_too_many_frames_are_refused(encode: Encode) -> None:
    frames = [Image.new("L", (4, 4), value) for value in range(0, 200, 10)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert prepare(data, Limits(max_frames=20)).frames == 20
    with pytest.raises(ImageRejected) as refused:
        prepare(data, Limits(max_frames=19))
    assert refused.value.code == RejectionCode.TOO_MANY_FRAMES


def test_preparing_the_same_bytes_twice_gives_the_same_bytes(
    noise: Image.Image, encode: Encode
) -> None:
    data = encode(noise, "PNG")
    assert prepare(data) == prepare(data)


def test_hashes_of_bytes_and_of_a_file_agree(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("hash") / "abc"
    file.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
    assert sha256_hex(b"abc") == sha256_file(file) == known

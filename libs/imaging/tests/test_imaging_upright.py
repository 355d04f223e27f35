"""Whatever the file's mode, orientation or container, the pixels come out upright, RGB, 8-bit."""

import io
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageChops, ImageCms

from imaging import MEDIA_TYPES, ImageRejected, open_upright_rgb, probe
from imaging.render import prepare

Encode = Callable[..., bytes]
Turn = Image.Transpose
# What was done to an upright scene so that this EXIF orientation makes it upright again.
UNDONE = {
    1: None,
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_90,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_270,
}
PURE = {
    "red": (24, 16, (220, 30, 30)),
    "green": (72, 16, (30, 200, 30)),
    "blue": (24, 48, (30, 30, 210)),
    "grey": (72, 48, (128, 128, 128)),
}


def assert_looks_like_the_scene(picture: Image.Image, within: int) -> None:
    assert picture.mode == "RGB"
    assert picture.size == (96, 64)
    for name, (x, y, wanted) in PURE.items():
        seen = picture.getpixel((x, y))
        assert isinstance(seen, tuple)
        assert max(abs(a - b) for a, b in zip(seen, wanted, strict=True)) <= within, name


def turned(scene: Image.Image, orientation: int) -> Image.Image:
    turn = UNDONE[orientation]
    return scene if turn is None else scene.transpose(turn)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_each_exif_orientation_gives_the_same_pixels(
    scene: Image.Image, encode: Encode, kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"quality": 95} if kind in {"JPEG", "WEBP", "AVIF"} else {}
    data = encode(turned(scene, orientation), kind, exif=exif, **options)
    assert_looks_like_the_scene(open_upright_rgb(data), within=8)
    prepared = prepare(data)
    assert (prepared.width, prepared.height) == (96, 64)
    assert prepared.orientation == orientation
    assert (prepared.rendition is None) == (kind == "JPEG" and orientation == 1)
    if prepared.rendition is not None:
        assert_looks_like_the_scene(open_upright_rgb(prepared.rendition), within=8)


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack(">HHIHH", 274, 3, 1, 0, 0),
        struct.pack(">HHIHH", 274, 3, 1, 77, 0),
        struct.pack(">HHI4s", 274, 2, 4, b"six\x00"),
    ],
    ids=["zero", "77", "a word"],
)
def test_an_absurd_orientation_is_ignored(scene: Image.Image, encode: Encode, entry: bytes) -> None:
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + entry + bytes(4)
    assert_looks_like_the_scene(open_upright_rgb(encode(scene, "PNG", exif=exif)), within=0)


def test_a_broken_exif_block_does_not_cost_the_photo(scene: Image.Image, encode: Encode) -> None:
    data = encode(
        scene, "JPEG", quality=95, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + b"x" * 30
    )
    assert_looks_like_the_scene(open_upright_rgb(data), within=8)
    assert prepare(data).metadata.taken_at is None


def test_cmyk_without_a_profile_keeps_its_colours(scene: Image.Image, encode: Encode) -> None:
    data = encode(scene.convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.mode == "CMYK"
    assert_looks_like_the_scene(open_upright_rgb(data), within=10)
    assert prepare(data).rendition is not None


def test_an_embedded_profile_is_applied(encode: Encode) -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    red = Image.new("RGB", (16, 16), (200, 40, 40))
    in_lab = ImageCms.profileToProfile(red, srgb, lab, outputMode="LAB")
    assert in_lab is not None
    seen = open_upright_rgb(encode(in_lab, "TIFF")).getpixel((8, 8))
    assert isinstance(seen, tuple)
    assert max(abs(a - b) for a, b in zip(seen, (200, 40, 40), strict=True)) <= 4


def test_swapped_primaries_in_a_profile_change_the_pixels(encode: Encode) -> None:
    """The profile says that the first channel is green light, so full red must come out green."""
    data = encode(Image.new("RGB", (16, 16), (255, 0, 0)), "PNG", icc_profile=_green_first())
    red, green, blue = _pixel(open_upright_rgb(data))
    assert green > 200
    assert red < 60
    assert blue < 60


def test_a_broken_profile_is_ignored(scene: Image.Image, encode: Encode) -> None:
    data = encode(scene, "PNG", icc_profile=b"\x00\x00\x02\x0cappl" + b"junk" * 50)
    assert_looks_like_the_scene(open_upright_rgb(data), within=0)


def test_a_16_bit_picture_is_scaled_and_not_clipped(encode: Encode) -> None:
    ramp = Image.new("I;16", (256, 4))
    for x in range(256):
        for y in range(4):
            ramp.putpixel((x, y), x * 257)
    data = encode(ramp, "PNG")
    upright = open_upright_rgb(data)
    assert [_pixel(upright, x)[0] for x in (0, 1, 64, 128, 254, 255)] == [0, 1, 64, 128, 254, 255]


def test_a_float_picture_is_stretched_to_its_own_range(encode: Encode) -> None:
    deep = Image.new("F", (3, 1))
    for x, value in enumerate((-10.0, 0.0, 10.0)):
        deep.putpixel((x, 0), value)
    upright = open_upright_rgb(encode(deep, "TIFF"))
    assert [_pixel(upright, x, 0)[0] for x in range(3)] == [0, 128, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_become_white(encode: Encode, mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    data = encode(clear.convert(mode), "PNG" if mode != "PA" else "TIFF")
    assert _pixel(open_upright_rgb(data)) == (255, 255, 255)


def test_half_transparent_black_becomes_middle_grey(encode: Encode) -> None:
    data = encode(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG")
    assert _pixel(open_upright_rgb(data)) == (127, 127, 127)


def test_a_palette_with_a_transparent_entry_is_composited(encode: Encode) -> None:
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((7, 7), 1)
    upright = open_upright_rgb(encode(picture, "PNG", transparency=0))
    assert _pixel(upright, 0, 0) == (255, 255, 255)
    assert _pixel(upright, 7, 7) == (200, 100, 50)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_and_bilevel_become_rgb(encode: Encode, mode: str) -> None:
    upright = open_upright_rgb(encode(Image.new(mode, (8, 8), 255), "PNG"))
    assert (upright.mode, _pixel(upright)) == ("RGB", (255, 255, 255))


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "PNG", "AVIF"])
def test_an_animation_gives_its_first_frame(encode: Encode, kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    red, _, blue = _pixel(open_upright_rgb(data))
    assert red > 230
    assert blue < 25
    assert prepare(data).frames == 2


def test_an_avif_looks_as_it_did(scene: Image.Image, encode: Encode) -> None:
    assert_looks_like_the_scene(open_upright_rgb(encode(scene, "AVIF", quality=95)), within=8)


@pytest.fixture
def heic(scene: Image.Image, encode: Encode, tmp_path: Path) -> Callable[..., bytes]:
    """The scene as HEIC, made by a program that is not ours."""
    program = shutil.which("heif-enc")
    if program is None:
        pytest.fail("heif-enc is missing: install the package libheif-examples (Debian, Ubuntu)")

    def made(picture: Image.Image = scene, orientation: int = 1) -> bytes:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        exif[ExifTags.Base.Make] = "Lumen"
        source, target = tmp_path / "scene.jpg", tmp_path / "scene.heic"
        source.write_bytes(encode(picture, "JPEG", quality=98, exif=exif))
        command = [program, "-q", "95", "-o", str(target), str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return target.read_bytes()

    return made


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_heic_is_read_and_its_exif_orientation_is_not_believed(
    heic: Callable[..., bytes], orientation: int
) -> None:
    """ISO/IEC 23008-12: only the container's own rotation counts; cameras write both."""
    data = heic(orientation=orientation)
    prepared = prepare(data)
    assert prepared.media_type == probe(data).media_type == "image/heic"
    assert (prepared.width, prepared.height) == (probe(data).width, probe(data).height) == (96, 64)
    assert prepared.orientation == 1
    assert prepared.metadata.camera_make == "Lumen"
    assert_looks_like_the_scene(open_upright_rgb(data), within=14)
    assert prepared.rendition is not None
    assert_looks_like_the_scene(open_upright_rgb(prepared.rendition), within=14)


def test_the_rotation_of_a_heic_container_is_applied_once(
    scene: Image.Image, heic: Callable[..., bytes]
) -> None:
    data = heic(turned(scene, 6), orientation=6)
    # heif-enc writes no rotation, so its box of bit depths becomes one: 3 x 90 degrees against the
    # clock (`irot`, same length, what follows the first byte is not looked at).
    assert data.count(b"pixi\x00") == 1
    data = data.replace(b"pixi\x00", b"irot\x03")
    assert_looks_like_the_scene(open_upright_rgb(data), within=14)
    assert (prepare(data).width, prepare(data).height) == (96, 64)


def test_a_truncated_heic_is_refused_as_cut_off(heic: Callable[..., bytes]) -> None:
    data = heic()
    with pytest.raises(ImageRejected, match="cut off"):
        prepare(data[:-100])


def test_draft_decoding_keeps_the_pixels_that_were_asked_for(encode: Encode) -> None:
    picture = Image.linear_gradient("L").resize((1600, 1200)).convert("RGB")
    small = open_upright_rgb(encode(picture, "JPEG"), at_least=224)
    assert 224 <= min(small.size) < 448
    full = picture.resize(small.size, Image.Resampling.BOX)
    difference = ImageChops.difference(small, full).convert("L")
    assert not any(difference.histogram()[7:])


def test_every_media_type_has_a_test_above() -> None:
    tested = {"jpeg", "png", "webp", "tiff", "avif", "gif", "heic", "bmp"}
    assert {media_type.removeprefix("image/") for media_type in MEDIA_TYPES} == tested


def test_a_bmp_is_read(scene: Image.Image, encode: Encode) -> None:
    assert_looks_like_the_scene(open_upright_rgb(encode(scene, "BMP")), within=0)


def _pixel(picture: Image.Image, x: int = 4, y: int = 2) -> tuple[int, ...]:
    seen = picture.getpixel((x, y))
    assert isinstance(seen, tuple)
    return tuple(int(value) for value in seen)


def _green_first() -> bytes:
    """sRGB's profile with the colours of its red and green primaries exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    # The description must not say sRGB any more: such profiles need no conversion.
    return swapped.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))

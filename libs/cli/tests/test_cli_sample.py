"""The sample folder holds what the demo promises, and the same bytes each time."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from darkroom_cli.sample import DOCUMENT_LINES, SampleKind, SampleManifest, make_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleManifest:
    return make_sample(tmp_path_factory.mktemp("sample") / "new" / "folder")


def contents(manifest: SampleManifest) -> dict[str, bytes]:
    return {file.name: (manifest.folder / file.name).read_bytes() for file in manifest.files}


def opened(sample: SampleManifest, name: str) -> Image.Image:
    picture = Image.open(io.BytesIO((sample.folder / name).read_bytes()))
    picture.load()
    return picture


def test_the_manifest_lists_exactly_the_files_in_the_folder(sample: SampleManifest) -> None:
    assert [file.name for file in sample.files] == sorted(p.name for p in sample.folder.iterdir())


def test_there_are_ten_photographs_with_different_pixels_and_the_named_ones(
    sample: SampleManifest,
) -> None:
    plain = [f.name for f in sample.of(SampleKind.PHOTO) if f.name.endswith((".jpg", ".png"))]
    seen = {opened(sample, name).convert("RGB").resize((16, 16)).tobytes() for name in plain}
    assert len(seen) >= 10
    for wanted in ("chelsea", "coffee"):
        assert len([file for file in sample.files if wanted in file.name]) == 1


def test_every_colour_and_container_that_trips_programs_up_is_there(
    sample: SampleManifest,
) -> None:
    assert opened(sample, "rocket-in-cmyk.jpg").mode == "CMYK"
    deep = opened(sample, "moon-16-bit.png")
    assert deep.mode == "I;16"
    high = deep.getextrema()[1]
    assert isinstance(high, float | int)
    assert high > 60_000
    assert opened(sample, "flower-with-alpha.png").getchannel("A").getextrema() == (0, 255)
    assert opened(sample, "temple-in-china.avif").format == "AVIF"
    assert opened(sample, "motorcycle-animated.webp").n_frames == 2  # type: ignore[attr-defined]


def test_the_turned_document_is_the_document_once_it_is_upright(sample: SampleManifest) -> None:
    (turned,), (document,) = sample.of(SampleKind.TURNED), sample.of(SampleKind.DOCUMENT)
    stored = opened(sample, turned.name)
    assert stored.height > stored.width
    upright = ImageOps.exif_transpose(stored)
    difference = ImageChops.difference(upright, opened(sample, document.name)).convert("L")
    assert not any(difference.histogram()[48:])
    assert turned.text == document.text == "\n".join(DOCUMENT_LINES)


def test_the_duplicate_has_the_bytes_of_its_original(sample: SampleManifest) -> None:
    (duplicate,) = sample.of(SampleKind.DUPLICATE)
    files = contents(sample)
    assert duplicate.same_as is not None
    assert files[duplicate.name] == files[duplicate.same_as]
    assert len(set(files.values())) == len(files) - 1


def test_the_bad_files_are_bad_in_four_ways(sample: SampleManifest) -> None:
    assert len(sample.of(SampleKind.BAD)) == 4
    files = contents(sample)
    assert files["empty.jpg"] == b""
    with pytest.raises(UnidentifiedImageError):
        opened(sample, "shopping-list.jpg")
    with pytest.raises(OSError, match="truncated"):
        opened(sample, "cut-off.jpg")
    claim = files["claims-900-megapixels.png"]
    assert len(claim) < 1_000
    assert int.from_bytes(claim[16:20], "big") == int.from_bytes(claim[20:24], "big") == 30_000


def test_an_edition_is_the_same_each_time(sample: SampleManifest, tmp_path: Path) -> None:
    assert contents(make_sample(tmp_path)) == contents(sample)


def test_another_edition_has_other_bytes_and_the_same_pixels(
    sample: SampleManifest, tmp_path: Path
) -> None:
    other = make_sample(tmp_path, edition=1)
    first, second = contents(sample), contents(other)
    assert first.keys() == second.keys()
    readable = [file.name for file in sample.files if file.kind is not SampleKind.BAD]
    for name in readable:
        assert first[name] != second[name], name
        assert opened(sample, name).tobytes() == opened(other, name).tobytes(), name


def test_editions_count_from_zero(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count from 0"):
        make_sample(tmp_path, edition=-1)


def test_making_the_sample_imports_none_of_the_packages_that_bring_it(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from darkroom_cli.sample import make_sample\n"
        f"make_sample(pathlib.Path({str(tmp_path)!r}))\n"
        "print(sorted({'skimage', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"

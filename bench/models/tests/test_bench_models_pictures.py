"""Pictures are distinct, repeatable, and what is said to be on them is on them."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from bench.models import lettering, photographs, shots, versus
from bench.models.plan import PAGE_LINES
from PIL import Image


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and bool((np.asarray(one) == np.asarray(other)).all())


def test_every_photograph_is_in_a_package() -> None:
    for name in photographs.FILES:
        image = photographs.photograph(name)
        assert image.mode == "RGB"
        assert min(image.size) >= 300


def test_labels_are_words_of_the_model_and_of_photographs_that_exist() -> None:
    backbones = find_spec("backbones")  # importing it would load torch
    assert backbones is not None
    assert backbones.origin is not None
    words = set(Path(backbones.origin).with_name("imagenet1k.txt").read_text().splitlines())
    assert set(photographs.LABELS) <= set(photographs.FILES)
    assert set().union(*photographs.LABELS.values()) <= words


def test_a_crop_is_as_large_as_asked_and_the_same_for_the_same_seed() -> None:
    one = photographs.crop("cat", (640, 480), (7, 1))
    assert one.size == (640, 480)
    assert same(one, photographs.crop("cat", (640, 480), (7, 1)))
    assert not same(one, photographs.crop("cat", (640, 480), (7, 2)))


def test_labelled_photographs_are_each_one_whole_and_its_variants() -> None:
    found = photographs.labelled(2, 7)
    assert len(found) == 3 * len(photographs.LABELS)
    assert same(found[0][0], photographs.photograph("astronaut"))
    assert all(right == photographs.LABELS["astronaut"] for _, right in found[:3])


def test_lines_differ_in_font_size_angle_and_noise_and_stand_on_their_picture() -> None:
    lines = [lettering.line((7, number)) for number in range(120)]
    assert len({one.text for one in lines}) == 120
    about = [one.about.split(", ") for one in lines]
    assert {font for font, *_ in about} == set(lettering.FONTS)
    assert len({size for _, size, *_ in about}) == len(lettering.SIZES)
    assert len({angle for *_, angle, _ in about}) == len(set(lettering.ANGLES))
    assert {noise for *_, noise in about} == set(lettering.NOISES)
    for one in lines[:20]:
        assert np.ptp(np.asarray(one.image.convert("L"))) >= 25


def test_a_page_has_12_megapixels_and_all_its_lines() -> None:
    page = lettering.page(PAGE_LINES, (7, 1))
    assert page.image.width * page.image.height == 12_000_000
    assert len(page.text.splitlines()) == PAGE_LINES
    dark = (np.asarray(page.image.convert("L")) < 90).any(axis=1)
    rows = int((np.diff(dark.astype(np.int8)) == 1).sum())
    assert rows >= PAGE_LINES


def test_a_document_has_as_many_lines_as_asked_for() -> None:
    assert len(lettering.document(200, (7, 1)).text.splitlines()) == 200


@pytest.mark.parametrize("size", photographs.SIZES)
def test_a_sign_lies_within_its_photograph(size: tuple[int, int]) -> None:
    photo = photographs.crop("flower", size, (7, 1))
    for number in range(10):
        signed = lettering.signed(photo, (7, number))
        assert signed.image.size == size
        assert 3 <= len(signed.text.splitlines()) <= 5


def test_a_third_of_the_shots_have_text_and_of_every_size_as_many() -> None:
    with_text = [number for number in range(90) if shots.with_text(number)]
    assert len(with_text) == 30
    assert {sum(number % 3 == size for number in with_text) for size in range(3)} == {10}


def test_shots_are_distinct_and_another_edition_has_the_same_pixels_in_other_bytes(
    tmp_path: Path,
) -> None:
    first = shots.make(tmp_path / "a", 12, (7, 5), edition=1)
    again = shots.make(tmp_path / "b", 12, (7, 5), edition=2)
    assert len({file.read_bytes() for file in (*first, *again)}) == 24
    for one, other in zip(first, again, strict=True):
        with Image.open(io.BytesIO(one.read_bytes())) as a, Image.open(other) as b:
            assert a.format == "JPEG"
            assert same(a, b)


def test_photographs_without_text_have_none_and_the_others_have() -> None:
    for what in versus.CLASSES:
        texts = [versus.picture(what, number).text for number in range(3)]
        assert all(bool(text) == (what == "with text") for text in texts)

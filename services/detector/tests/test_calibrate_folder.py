"""Labelled folders: which photo shows what, and what is said of names that are no labels."""

from pathlib import Path

import pytest

from detector import calibrate_folder
from detector.calibrate_examples import (
    CalibrateError,
    Example,
    Names,
    UnusableError,
    some,
)
from detector.calibration import NONE_OF_THESE

NAMES = Names.of(("golden retriever", "Egyptian cat", "tiger cat", "coffee mug", "espresso"))


def fill(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"a photo")
    return folder


def test_the_folder_of_a_photo_says_what_it_shows(tmp_path: Path) -> None:
    fill(tmp_path, "espresso/a.jpg", "Golden_Retriever/b.jpg", "EGYPTIAN CAT/c.png")
    found = calibrate_folder.labelled(tmp_path, NAMES)
    assert {one.name: one.label for one in found} == {
        "espresso/a.jpg": "espresso",
        "Golden_Retriever/b.jpg": "golden retriever",
        "EGYPTIAN CAT/c.png": "Egyptian cat",
    }


@pytest.mark.parametrize("name", ["none", "None of these"])
def test_photos_of_nothing_that_has_a_label_are_none_of_these(tmp_path: Path, name: str) -> None:
    fill(tmp_path, f"{name}/a.jpg")
    assert calibrate_folder.labelled(tmp_path, NAMES)[0].label == NONE_OF_THESE


def test_photos_in_a_folder_below_that_of_their_label_are_of_one_group(tmp_path: Path) -> None:
    paths = ("a.jpg", "b.jpg", "monday/c.jpg", "monday/deep/d.jpg", "friday/e.jpg")
    fill(tmp_path, *(f"espresso/{path}" for path in paths))
    groups = {Path(one.name).stem: one.group for one in calibrate_folder.labelled(tmp_path, NAMES)}
    assert groups["c"] == groups["d"]
    assert len(set(groups.values())) == 4


def test_names_that_begin_with_a_dot_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, ".git/x", "espresso/.DS_Store", "espresso/.cache/x.jpg", "espresso/a.jpg")
    assert [one.name for one in calibrate_folder.labelled(tmp_path, NAMES)] == ["espresso/a.jpg"]


def test_of_labels_that_are_compared_alike_the_first_is_meant() -> None:
    assert Names.of(("Hot dog", "hot_dog")).label("HOT DOG") == "Hot dog"


def test_unknown_names_are_told_with_the_labels_that_are_most_like_them(tmp_path: Path) -> None:
    fill(tmp_path, "cat/a.jpg", "expresso/b.jpg", "espresso/c.jpg", "zzzz/d.jpg")
    with pytest.raises(CalibrateError) as raised:
        calibrate_folder.labelled(tmp_path, NAMES)
    assert str(raised.value).splitlines() == [
        "'cat' is no label of this model: did you mean 'Egyptian cat', 'tiger cat'?",
        "'expresso' is no label of this model: did you mean 'espresso'?",
        "'zzzz' is no label of this model: no label is like it.",
    ]


def test_a_folder_without_folders_says_how_it_should_look(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    with pytest.raises(CalibrateError, match=r"one for each label.*`none`"):
        calibrate_folder.labelled(tmp_path, NAMES)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrateError, match=r"gone can't be listed: No such file"):
        calibrate_folder.labelled(tmp_path / "gone", NAMES)


def test_a_photo_that_is_gone_by_now_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(UnusableError, match="No such file"):
        calibrate_folder.read(tmp_path, Example("espresso/a.jpg", "espresso", "a"))


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.tif").open("wb") as file:
        file.truncate(100_000_001)
    with pytest.raises(UnusableError, match="larger than 100,000,000 bytes"):
        calibrate_folder.read(tmp_path, Example("large.tif", "espresso", "a"))


def test_of_too_many_photos_some_of_every_kind_are_taken_and_always_the_same() -> None:
    every = [Example(str(n), "a" if n < 500 else "b", str(n)) for n in range(1_000)]
    taken = some(every, 100)
    assert taken == some(every, 100)
    assert len(taken) == 100
    assert 30 < sum(one.label == "a" for one in taken) < 70
    assert [int(one.name) for one in taken] == sorted(int(one.name) for one in taken)

"""The user's own labels."""

from pathlib import Path

import pytest

from detector.categories import CATEGORY_OF_CLASS
from detector.label_lists import MOST, LabelList, LabelListError, label_list


def test_a_file_has_a_label_a_line_with_a_category_or_without(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("\ufeffour cat\tpets\r\n\n  holiday house \nChloë\tfamily\n", encoding="utf-8")
    found = label_list(str(file), "")
    assert found.names == ("our cat", "holiday house", "Chloë")
    assert found.categories == ("pets", "", "family")


def test_labels_may_be_listed_in_the_setting_itself() -> None:
    assert label_list("", "cat, dog,,car").names == ("cat", "dog", "car")


def test_without_either_there_are_everyday_labels_in_the_known_categories() -> None:
    found = label_list("", "")
    assert 100 <= len(found.names) <= 150
    assert set(found.categories) <= set(CATEGORY_OF_CLASS)
    assert {"person", "receipt", "sunset"} <= set(found.names)


def test_both_are_refused() -> None:
    with pytest.raises(LabelListError, match="not by both"):
        label_list("labels.txt", "cat")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["cat", "dog", "cat"], r"line 3: 'cat' stands twice"),
        (["\tpets"], "line 1: '' is no name"),
        (["cat", "none of these"], "line 2: .* where no label fits"),
        (["x" * 101], "line 1: .* longer than 100"),
        (["cat\t" + "x" * 101], "line 1: .* longer than 100"),
        (["", "  "], "has no labels"),
        ([str(number) for number in range(MOST + 1)], f"has {MOST + 1} labels; {MOST} are"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_with_the_line(lines: list[str], said: str) -> None:
    with pytest.raises(LabelListError, match=said):
        LabelList.of(lines, "labels.txt")


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelListError, match="can't be read: No such file"):
        label_list(str(tmp_path / "missing.txt"), "")
    (tmp_path / "photo.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(LabelListError, match="no text in UTF-8"):
        label_list(str(tmp_path / "photo.txt"), "")
    (tmp_path / "huge.txt").write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(LabelListError, match="no list of labels"):
        label_list(str(tmp_path / "huge.txt"), "")

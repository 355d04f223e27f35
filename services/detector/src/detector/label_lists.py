"""The user's own labels, each with a category or without."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Self

from detector.calibration import NONE_OF_THESE

MOST: Final = 2000
"""Labels of a list; each costs time when the engine is loaded."""

LONGEST: Final = 100
"""Characters of a label or a category."""

_LARGEST: Final = 1024 * 1024
"""Bytes of a file of labels."""


class LabelListError(ValueError):
    """A list of labels that can't be used; says where and why."""


@dataclass(frozen=True, slots=True)
class LabelList:
    """Different names; `categories` has one for each, "" for a label without."""

    names: tuple[str, ...]
    categories: tuple[str, ...]

    @classmethod
    def of(cls, lines: Iterable[str], source: str) -> Self:
        """A label a line, or `label<TAB>category`; empty lines are passed over.

        Raises LabelListError that names `source` and the line.
        """
        categories: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            name, _, category = (part.strip() for part in line.partition("\t"))
            wrong = _wrong(name, category) or ("stands twice" if name in categories else "")
            if wrong:
                raise LabelListError(f"{source}, line {number}: {name[:LONGEST]!r} {wrong}.")
            categories[name] = category
        if not categories:
            raise LabelListError(f"{source} has no labels.")
        if len(categories) > MOST:
            raise LabelListError(f"{source} has {len(categories)} labels; {MOST} are the most.")
        return cls(tuple(categories), tuple(categories.values()))

    @classmethod
    def everyday(cls) -> Self:
        """What most people take photos of, with the categories of EfficientNet-Lite0."""
        text = resources.files("detector").joinpath("everyday_labels.tsv")
        return cls.of(text.read_text(encoding="utf-8").splitlines(), "everyday_labels.tsv")


def label_list(file: str, listed: str) -> LabelList:
    """What two settings say: the path of a file, or the labels with commas; the everyday ones.

    Raises LabelListError, also where both are given.
    """
    if file and listed:
        raise LabelListError(
            "Give the labels by detector_labels_file or by detector_label_list, not by both."
        )
    if listed:
        return LabelList.of(listed.split(","), "detector_label_list")
    if file:
        return LabelList.of(_lines(Path(file).expanduser()), file)
    return LabelList.everyday()


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise LabelListError(f"The labels in {path} can't be read: {error.strerror}.") from error
    if len(content) > _LARGEST:
        raise LabelListError(f"{path} is larger than {_LARGEST} bytes: no list of labels.")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise LabelListError(f"{path} is no text in UTF-8.") from error


def _wrong(name: str, category: str) -> str:
    if not name:
        return "is no name for a label"
    if name == NONE_OF_THESE:
        return "is what the detector says of itself where no label fits"
    if max(len(name), len(category)) > LONGEST:
        return f"is longer than {LONGEST} characters"
    return ""

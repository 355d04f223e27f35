"""Sets of labels and their examples as people and programs see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from gateway.catalog.shapes import Shape
from gateway.texts import Name

DEFAULT_SET: Final = "labels"
"""The set that is meant unless another one is named."""

NONE: Final = "none"
"""The word for photos that no label fits; so no label is called that."""

MOST_LABELS: Final = 200

LEAST_LABELS: Final = 2
"""Between fewer there is nothing to tell apart, but for photos that none fits."""

Source = Literal["person", "review", "folder", "auto"]


def _label(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("begins or ends with a space, or has characters that can't be seen")
    if text.casefold() == NONE:
        raise ValueError(f"{NONE} is the word for photos that no label fits")
    return text


LabelName = Annotated[Name, AfterValidator(_label)]

SetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
"""Of a set, and of the model that learns it."""


class LabelSetRequest(Shape):
    """All labels of a set."""

    labels: list[LabelName] = Field(
        min_length=1, max_length=MOST_LABELS, examples=[["receipt", "ticket"]]
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len({one.casefold() for one in self.labels}) < len(self.labels):
            raise ValueError("a label is named twice (upper and lower case are the same)")
        return self


class Needed(Shape):
    """Examples that a label lacks."""

    label: str
    needs: int


class Verdict(Shape):
    """Whether a model can be trained of a set's examples; if not, what is missing."""

    enough: bool
    least: int = Field(description="examples that each label needs")
    missing: list[Needed]
    labels_missing: int = Field(description="labels that the set lacks, unless `none` has enough")
    sentence: str = Field(examples=["Needs 3 more of `receipt`."])


class LabelCount(Shape):
    """Examples of a label, by where they are from."""

    label: str | None = Field(description="null: photos that no label fits")
    examples: int
    person: int
    review: int
    folder: int
    auto: int


class LabelSet(Shape):
    """Labels that a model shall learn, and how many examples there are."""

    name: str = Field(examples=[DEFAULT_SET])
    labels: list[str]
    examples: int
    counts: list[LabelCount] = Field(description="in the order of the labels, `none` last")
    verdict: Verdict
    warning: str | None = Field(
        description="why its model gives what is no label of the set", examples=[None]
    )
    created_by: str
    created_at: datetime
    changed_at: datetime


class LabelSets(Shape):
    """All sets, by name."""

    items: list[LabelSet]


class Example(Shape):
    """A photo and the label of a set that it shows."""

    photo_id: str
    label: str | None = Field(description="null: no label of the set fits")
    source: Source
    said_by: str
    said_at: datetime
    thumbnail: str = Field(description="its small picture, once there is one")


class ExamplePage(Shape):
    """Examples, the newest first; `next` is the cursor of the earlier ones, null at the end."""

    items: list[Example]
    next: str | None


class Ambiguous(Shape):
    """A photo that lies in folders of several labels."""

    photo_id: str
    paths: list[str]


class ImportedExamples(Shape):
    """What became of an import's files."""

    changed: int = Field(description="photos that are examples now, or of another label")
    unchanged: int
    outside: int = Field(description="files in none of these folders")
    without_photo: int = Field(description="files that could not be read; the import tells why")
    ambiguous: list[Ambiguous] = Field(description="photos with several labels; 20 are named")
    ambiguous_of: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody says of a photo; `label` is None if no label of the set fits."""

    photo_id: str
    label: str | None


def verdict(labels: Sequence[str], counts: Mapping[str | None, int], least: int) -> Verdict:
    """Whether so many examples by label are enough: of every label, and to tell it from another
    one or from `none` (None)."""
    lacks = [(one, least - counts.get(one, 0)) for one in labels]
    missing = [Needed(label=one, needs=number) for one, number in lacks if number > 0]
    wants = _listed([f"{one.needs} more of `{one.label}`" for one in missing])
    nones = least - counts.get(None, 0)
    few = max(0, LEAST_LABELS - len(labels)) if not labels or nones > 0 else 0
    if few and not labels:
        wants = f"{few} labels"
    elif few:
        other = f"a second label, or {nones} more of `{NONE}`"
        wants = f"{wants}; and {other}" if wants else other
    sentence = f"Needs {wants}." if wants else "There are enough examples."
    return Verdict(
        enough=not wants, least=least, missing=missing, labels_missing=few, sentence=sentence
    )


def _listed(wants: Sequence[str]) -> str:
    return " and ".join([", ".join(wants[:-1]), wants[-1]] if len(wants) > 1 else wants)

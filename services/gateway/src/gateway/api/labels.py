"""/v1/labels: the user's own labels, in sets, and the photos that show them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.cursors import decode_place, encode_place
from gateway.api.door import Door, Wired
from gateway.api.import_requests import FilePath
from gateway.api.problems import ProblemError, documented, not_found
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import example_imports, labels
from gateway.catalog.label_shapes import (
    MOST_LABELS,
    Example,
    ExamplePage,
    ImportedExamples,
    LabelName,
    LabelSet,
    LabelSetRequest,
    LabelSets,
    SetName,
    Wish,
)
from gateway.catalog.labels import LabelSetError
from gateway.texts import Name

router = APIRouter(prefix="/v1/labels", tags=["labels"])

Set = Annotated[SetName, Path(alias="set", description="its name", examples=["labels"])]


class PutLabels(LabelSetRequest):
    """All labels of a set, and who says so."""

    model_config = ConfigDict(extra="forbid")

    by: Claim = Field(NOBODY, description="who changes it", examples=["ada"])


class ExampleRequest(BaseModel):
    """A photo and what it shows."""

    model_config = ConfigDict(extra="forbid")

    photo_id: UUID
    label: LabelName | None = Field(description="null: no label of the set fits")
    by: Claim = Field(NOBODY, description="who says so", examples=["ada"])


class ExamplesRequest(BaseModel):
    """An import, and what its folders are called."""

    model_config = ConfigDict(extra="forbid")

    batch_id: UUID
    folders: dict[FilePath, LabelName | None] = Field(
        min_length=1,
        max_length=MOST_LABELS + 1,
        description="paths of folders, as the import has them, to the label of all below; null: no"
        " label of the set fits",
        examples=[{"/home/ada/photos/receipt": "receipt", "/home/ada/photos/none": None}],
    )
    by: Claim = Field(NOBODY, description="who says so", examples=["ada"])


_STATUS: Final = {"no_such_set": 404, "set_exists": 409}


@contextmanager
def _allowed() -> Iterator[None]:
    try:
        yield
    except LabelSetError as error:
        raise ProblemError(_STATUS.get(error.code, 422), error.code, str(error)) from error


@router.get("", summary="Sets of labels", responses=documented(503))
async def list_label_sets(door: Wired) -> LabelSets:
    """All sets, how many examples there are of each label, and whether they are enough."""
    found = await door.catalog.ask(labels.label_sets, *_counted(door))
    return LabelSets(items=found)


@router.get("/{set}", summary="A set of labels", responses=documented(404, 422, 503))
async def get_label_set(name: Set, door: Wired) -> LabelSet:
    """Its labels, how many examples there are of each, and whether they are enough."""
    return await _label_set(door, name)


@router.put(
    "/{set}",
    summary="Make a set of labels, or change its labels",
    responses={
        201: {"model": LabelSet, "description": "Made"},
        **documented(403, 409, 413, 422, 503),
    },
)
async def put_label_set(name: Set, wanted: PutLabels, door: Wired, response: Response) -> LabelSet:
    """The set has these labels then. Examples of a label that goes count no more; they are kept,
    and do again should it come back. `none` is no label: it is the word for photos that no label
    of the set fits. 409 `set_exists`: another set has this name but for upper and lower case.
    """
    by = door.speaker.named(wanted.by)
    with _allowed():
        if await door.catalog.ask(labels.put_label_set, name, wanted.labels, by):
            response.status_code = 201
    return await _label_set(door, name)


@router.get(
    "/{set}/examples", summary="Examples, newest first", responses=documented(404, 422, 503)
)
async def list_examples(
    name: Set,
    door: Wired,
    label: Annotated[Name | None, Query(description="only of this label, or `none`")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=300, description="an answer's `next`")] = None,
) -> ExamplePage:
    """Photos and the labels that they show, by whom; answers of reviews are among them."""
    found = await door.catalog.ask(labels.examples, name, label, decode_place(cursor), limit)
    if found is None:
        raise _no_set(name)
    items, place = found
    return ExamplePage(items=items, next=encode_place(place))


@router.post(
    "/{set}/examples",
    summary="Have a photo be an example",
    responses=documented(403, 404, 413, 422, 503),
)
async def post_example(name: Set, wanted: ExampleRequest, door: Wired) -> Example:
    """The last word of a person about a photo holds, be it said here, by a folder or in a review.
    The same again is harmless."""
    by = door.speaker.named(wanted.by)
    wish = Wish(str(wanted.photo_id), wanted.label)
    with _allowed():
        example = await door.catalog.ask(labels.add_example, name, wish, by)
    if example is None:
        raise not_found("photo")
    return example


@router.post(
    "/{set}/examples/import",
    summary="Have the photos of an import be examples",
    responses=documented(403, 404, 413, 422, 503),
)
async def post_examples(name: Set, wanted: ExamplesRequest, door: Wired) -> ImportedExamples:
    """Each file of the import shows the label of the folder that it lies in, at any depth; photos
    that lie in folders of several labels are left out and named. Asked for while the import still
    goes on, it takes those files that have come; repeating is harmless.
    """
    by = door.speaker.named(wanted.by)
    with _allowed():
        found = await door.catalog.ask(
            example_imports.import_examples, name, wanted.batch_id, wanted.folders, by
        )
    if found is None:
        raise not_found("import")
    return found


@router.delete(
    "/{set}/examples/{photo_id}",
    status_code=204,
    summary="Have a photo be no example any more",
    responses=documented(403, 404, 422, 503),
)
async def delete_example(
    name: Set,
    photo_id: UUID,
    door: Wired,
    by: Annotated[Name, Query(description="who says so")] = NOBODY.root,
) -> None:
    """Whoever said that it is one, also in a review, whose answer stays as it is."""
    with _allowed():
        who = door.speaker.named(Claim(by))
        removed = await door.catalog.ask(labels.remove_example, name, photo_id, who)
    if not removed:
        raise not_found("example")


def _counted(door: Door) -> tuple[int, bool]:
    """What counts as an example, and how many are enough."""
    return door.settings.examples_least, door.settings.auto_examples


async def _label_set(door: Door, name: str) -> LabelSet:
    found = await door.catalog.ask(labels.label_set, name, *_counted(door))
    if found is None:
        raise _no_set(name)
    return found


def _no_set(name: str) -> ProblemError:
    return ProblemError(404, "no_such_set", f"There is no set of labels named {name}.")

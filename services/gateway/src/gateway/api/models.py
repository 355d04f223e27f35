"""/v1/models: versions of each stage's model and of heads, which of them holds, who has it."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Self, get_args
from uuid import uuid4

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from darkroom_schemas.model_files import SAFE_SUFFIXES, is_safe
from gateway.api.door import Door, Wired
from gateway.api.problems import ProblemError, documented
from gateway.api.speakers import NOBODY, Claim
from gateway.catalog import comparisons, model_options, model_reports, models
from gateway.catalog.model_shapes import (
    Activation,
    Model,
    ModelDetail,
    ModelFile,
    ModelName,
    ModelVersion,
    RegisteredVersion,
    ShadowReport,
    StageName,
)
from gateway.catalog.models import By, RegistryError, Wanted
from gateway.catalog.shapes import Shape
from gateway.db import Conn
from gateway.texts import Name, Reason
from streamkit import Reject

router = APIRouter(prefix="/v1", tags=["models"])

FILES_PATH: Final = "/v1/model-files/"

MOST_FILES: Final = 200
MOST_OPTIONS: Final = 50
LONGEST_OPTION: Final = 200_000
"""Characters: a list of labels, a calibration; together they have to fit the broker's 1 MiB."""

_STAGES: Final[tuple[StageName, ...]] = get_args(StageName)

_STATUS: Final = {
    **dict.fromkeys(("no_such_version", "no_such_model"), 404),
    **dict.fromkeys(("files_missing", "unknown_engine", "unknown_option", "bad_option"), 422),
}

Version = Annotated[str, Field(min_length=3, max_length=200, examples=["siglip@2c26b46b68ff"])]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=10_000)]
Option = Annotated[str, Field(max_length=LONGEST_OPTION)]
FilePath = Annotated[str, Field(min_length=1, max_length=300, examples=["model.safetensors"])]

_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class _Strict(BaseModel):
    """A misspelt field is no field left out."""

    model_config = ConfigDict(extra="forbid")


class FileRequest(_Strict):
    """A file of a checkpoint; its bytes are sent to /v1/model-files/{sha256}."""

    path: FilePath
    sha256: Sha256
    byte_size: int = Field(ge=0)

    @field_validator("path")
    @classmethod
    def _is_data_below(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or {"..", "."} & set(value.split("/")) or not value.isprintable():
            raise ValueError("a path below the checkpoint's folder, / between its parts")
        if not is_safe(value):
            known = ", ".join(SAFE_SUFFIXES)
            raise ValueError(
                f"{value}: weights as safetensors or ONNX; kinds that are taken: {known}"
            )
        return value


class ByRequest(_Strict):
    """Who does it and why."""

    by: Claim = Field(NOBODY, examples=["ada"])
    reason: Reason | None = None


class RegisterRequest(ByRequest):
    """A version as it shall be. The same content is always the same version."""

    engine: Name = Field(examples=["siglip"])
    options: dict[Name, Option] = Field({}, max_length=MOST_OPTIONS)
    files: list[FileRequest] = Field([], max_length=MOST_FILES)
    licence: Name | None = Field(None, examples=["Apache-2.0"])
    source: Text | None = Field(None, description="where it comes from")
    metrics: dict[Name, Any] = Field({}, max_length=MOST_OPTIONS)
    notes: Text | None = None

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if {":", "@", "+"} & set(self.engine) or self.engine == "auto":
            raise ValueError("engine: one of the stage's built-in engines, by its name")
        if len({one.path for one in self.files}) < len(self.files):
            raise ValueError("files: a path is there twice")
        if sum(map(len, self.options.values())) > LONGEST_OPTION:
            raise ValueError(f"options: {LONGEST_OPTION:,} characters are the most, together")
        return self


class ChangeRequest(ByRequest):
    """A change of what holds."""

    expected_generation: int | None = Field(
        None, ge=0, description="refuse with 409 if the model is another by now"
    )


class ActivateRequest(ChangeRequest):
    """Which version shall hold."""

    version: Version


class ShadowRequest(ChangeRequest):
    """Which version shall look beside the one that holds; null: none."""

    version: Version | None
    share: float = Field(1.0, gt=0, le=1, description="of the photos, those of lane high left out")


class RetireRequest(ByRequest):
    """Which version shall not be used any more."""

    version: Version


class Models(Shape):
    """Every model of the installation."""

    items: list[Model]


@contextmanager
def _allowed() -> Iterator[None]:
    try:
        yield
    except RegistryError as error:
        raise ProblemError(
            _STATUS.get(error.code, 409), error.code, str(error), more=error.more
        ) from error


@router.get("/models", summary="Models and who has them", responses=documented(503))
async def list_models(door: Wired) -> Models:
    """Which version of each stage's model and of the owner's heads holds, and whether every replica
    has it."""

    def all_of(conn: Conn, owner: str) -> list[Model]:
        names = [*_STAGES, *models.heads_of(conn, owner)]
        return [model_reports.model(conn, owner, name) for name in names]

    return Models(items=await door.catalog.ask(all_of))


@router.get("/models/{name}", summary="A model", responses=documented(404, 422, 503))
async def get_model(name: ModelName, door: Wired) -> ModelDetail:
    """Its versions, its replicas, its last changes. `everywhere` is the barrier: once it is true
    after a change, no part is made by an earlier version any more. `head:SET` is what the owner's
    set of labels was taught; `warning` says why it does nothing, if it does."""
    with _allowed():
        return await door.catalog.ask(model_reports.detail, _registered(door, name))


@router.post(
    "/models/{name}/versions",
    status_code=201,
    summary="Register a version",
    responses=documented(403, 413, 422, 503),
)
async def post_version(
    name: StageName, wanted: RegisterRequest, door: Wired, response: Response
) -> RegisteredVersion:
    """Add a candidate; 200 with the same version if it is known already. Heads are registered by
    their trainings alone.

    422 `unknown_engine`, `unknown_option` (with `known`: those that there are) and `bad_option` by
    what the replicas of the stage say of themselves; as long as none of them has, `unchecked` tells
    it. 422 `files_missing` names in `missing` the files to send first.
    """
    files = [ModelFile.model_validate(one.model_dump()) for one in wanted.files]
    version = Wanted(
        name=name,
        engine=wanted.engine,
        by=door.speaker.named(wanted.by),
        options=wanted.options,
        files=files,
        licence=wanted.licence,
        source=wanted.source,
        metrics=wanted.metrics,
        notes=wanted.notes,
    )

    def registering(conn: Conn, _owner: str) -> tuple[RegisteredVersion, bool]:
        unchecked = model_options.check(conn, version)
        made, new = models.register(conn, version)
        return RegisteredVersion(**made.model_dump(), unchecked=unchecked), new

    with _allowed():
        made, new = await door.catalog.ask(registering)
    response.status_code = 201 if new else 200
    return made


@router.post(
    "/models/{name}/activate",
    summary="Have a version hold",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_activate(name: ModelName, wanted: ActivateRequest, door: Wired) -> Activation:
    """Services load it beside the one they have and change over between two photos; follow
    `everywhere` at the model's address. An embedder's photos are then embedded again, in the
    background. Of a head it needs the role trainer, of a stage admin; so it is with the other
    changes."""
    return await _changed(door, models.activate, wanted, name, wanted.version)


@router.post(
    "/models/{name}/rollback",
    summary="Have the version before hold again",
    responses=documented(403, 409, 413, 422, 503),
)
async def post_rollback(name: ModelName, wanted: ChangeRequest, door: Wired) -> Activation:
    """Undo the last activation."""
    return await _changed(door, models.roll_back, wanted, name)


@router.post(
    "/models/{name}/shadow",
    summary="Have a version look beside the one that holds",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_shadow(name: ModelName, wanted: ShadowRequest, door: Wired) -> Activation:
    """What it says is compared and reported, never shown; photos that a person waits for are left
    out. An embedder's vectors can't be compared: there is 409 `not_comparable`."""
    if name == "embedder" and wanted.version is not None:
        detail = "Vectors of two versions have nothing in common that could be compared."
        raise ProblemError(409, "not_comparable", detail)
    return await _changed(door, models.shadow, wanted, name, wanted.version, wanted.share)


@router.post(
    "/models/{name}/retire",
    summary="Retire a version",
    responses=documented(403, 404, 409, 413, 422, 503),
)
async def post_retire(name: ModelName, wanted: RetireRequest, door: Wired) -> ModelVersion:
    """Say that it shall not be used any more; activating it takes that back."""

    def retiring(conn: Conn, _owner: str) -> ModelVersion:
        by = By(door.speaker.named(wanted.by), wanted.reason)
        return models.retire(conn, _registered(door, name), wanted.version, by)

    with _allowed():
        return await door.catalog.ask(retiring)


@router.get(
    "/models/{name}/shadow-report", summary="What a shadow says", responses=documented(422, 503)
)
async def get_shadow_report(
    name: ModelName,
    door: Wired,
    version: Annotated[str, Query(min_length=3, max_length=200)],
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> ShadowReport:
    """How often it agrees, how long it takes, and the photos of which it says something else."""
    what = _registered(door, name)
    return await door.catalog.ask(comparisons.shadow_report, what, version, limit)


@router.put(
    "/model-files/{sha256}",
    status_code=201,
    summary="Send a file of a checkpoint",
    responses=documented(403, 408, 409, 413, 422, 503, 507),
    openapi_extra=_BODY,
)
async def put_model_file(
    sha256: Annotated[str, InPath(pattern="^[0-9a-f]{64}$")],
    request: Request,
    door: Wired,
    response: Response,
) -> None:
    """The raw bytes, kept once; 200 where they are there already. What has gone from the store, or
    was changed there, is stored anew."""

    def known(conn: Conn, _owner: str) -> str | None:
        return models.file_uri(conn, sha256)

    before = await door.catalog.ask(known)
    if before is not None and await asyncio.to_thread(_is_whole, door, before, sha256):
        response.status_code = 200
        return
    declared = int(request.headers.get("content-length", 0))
    async with door.spool.take(request.stream(), door.settings.spool, declared) as file:
        size = await asyncio.to_thread(_checked, file, sha256)
        key = f"models/{sha256[:2]}/{sha256}-{uuid4().hex[:8]}"
        uri = await asyncio.to_thread(door.objects.put_file, key, file)

    def keeping(conn: Conn, _owner: str) -> None:
        models.keep_file(conn, sha256, size, uri)

    await door.catalog.ask(keeping)
    if before is not None:
        await asyncio.to_thread(door.objects.delete, before)


def is_file(method: str, path: str) -> bool:
    """Whether a request's body is a file of a checkpoint."""
    return method == "PUT" and path.startswith(FILES_PATH)


def _is_whole(door: Door, uri: str, sha256: str) -> bool:
    try:
        with door.objects.open(uri) as stored:
            return hashlib.file_digest(stored, "sha256").hexdigest() == sha256  # type: ignore[arg-type] # typeshed wants more of a file than is used
    except Reject:
        return False


def _checked(file: Path, sha256: str) -> int:
    with file.open("rb") as source:
        found = hashlib.file_digest(source, "sha256").hexdigest()
    if found != sha256:
        detail = f"The bytes that came have the SHA-256 {found}: send them again."
        raise ProblemError(409, "other_bytes", detail)
    return file.stat().st_size


async def _changed(
    door: Door,
    change: Callable[..., Activation],
    wanted: ChangeRequest,
    name: ModelName,
    *arguments: Any,
) -> Activation:
    by = By(door.speaker.named(wanted.by), wanted.reason, wanted.expected_generation)
    what = _registered(door, name)
    with _allowed():
        return await door.catalog.ask(door.writes.model, change, what, *arguments, by)


def _registered(door: Door, name: ModelName) -> str:
    """What the registry calls it: nobody can name another owner's head."""
    return models.named(door.catalog.owner, name)

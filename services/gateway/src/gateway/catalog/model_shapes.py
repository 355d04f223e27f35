"""Models as people and programs see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from gateway.catalog.shapes import Shape

StageName = Literal["detector", "ocr", "embedder"]

ModelName = Annotated[
    str,
    StringConstraints(pattern=r"^(detector|ocr|embedder|head:[A-Za-z0-9][A-Za-z0-9._-]{0,59})$"),
]
"""A stage's model, or `head:SET`: what the user's own set of labels was taught. Whose it is, is who
asks; in the registry a head has its owner in its name."""

VersionStage = Literal["candidate", "active", "retired"]
Change = Literal["served", "activated", "rolled_back", "shadowed"]


class ModelFile(Shape):
    """A file of a version's checkpoint."""

    path: str = Field(examples=["model.safetensors"])
    sha256: str
    byte_size: int


class ModelVersion(Shape):
    """A version of a model; `built_in` where a service brings it along."""

    version: str = Field(examples=["siglip@2c26b46b68ff"])
    engine: str = Field(examples=["siglip"])
    options: dict[str, str]
    files: list[ModelFile]
    sha256: str = Field(description="of engine, options and files")
    built_in: bool
    licence: str | None
    source: str | None
    metrics: dict[str, Any]
    notes: str | None
    embedding_version: str | None = Field(
        description="of a head: the version of the embedder for whose embeddings it is made"
    )
    stage: VersionStage
    created_by: str
    created_at: datetime


class RegisteredVersion(ModelVersion):
    """A version as it was registered."""

    unchecked: str | None = Field(
        description="why its engine and options could not be checked; null: they were"
    )


class Activation(Shape):
    """A change of a model: which version holds from then on."""

    generation: int
    version: str
    shadow: str | None
    shadow_share: float
    change: Change
    reason: str | None
    activated_by: str
    activated_at: datetime


class Replica(Shape):
    """An engine process and what it has; `live` if it was heard of within 30 seconds."""

    replica: str = Field(examples=["detector-bulk@node-1:4711"])
    state: Literal["ready", "loading", "failed", "gone"]
    generation: int
    wanted: int = Field(description="generation that it loads, has, or failed to load")
    version: str | None
    engine: str | None
    shadow: str | None
    message: str | None
    seen_s: float = Field(description="seconds since it was heard of")
    live: bool


class Reembedding(Shape):
    """How far the photos of an owner are embedded by the version that holds."""

    version: str
    photos: int = Field(description="that any version has embedded")
    embedded: int = Field(description="by this version")
    waiting: int = Field(description="asked for and not answered yet")
    failed: int


class Rescoring(Shape):
    """How far photos that were seen before are labelled by the version of a head that holds: all
    of the owner's heads at once, from the beginning whenever one of them is another."""

    version: str
    state: Literal["waiting", "running", "done"] = Field(
        description="waiting: not every live replica of the embedder has it yet"
    )
    heads: list[str] = Field(
        description="that label together; the numbers are those of all of them, not of one",
        examples=[["head:labels", "head:pets"]],
    )
    photos: int = Field(description="the owner's, with an embedding that they can label")
    done: int = Field(description="of them looked at")
    changed: int = Field(
        description="that have other labels, of whichever head, since it last began anew"
    )


class Model(Shape):
    """A model: what holds, who has it; that of a stage, or a head of the owner's.

    `generation` 0: nothing was activated yet, services use what their settings say. `everywhere`:
    every live replica makes all that it has in hand with what holds.
    """

    name: ModelName = Field(examples=["detector", "head:labels"])
    generation: int
    active: str | None = Field(description="the version that holds, or that replicas say they have")
    shadow: str | None
    shadow_share: float
    everywhere: bool
    waiting_for: list[str] = Field(description="live replicas that have it not yet")
    replicas: list[Replica] = Field(description="of a head: those of the embedder")
    warning: str | None = Field(
        None,
        description="why what holds does nothing",
        examples=["Made for embeddings of a@1, photos are embedded by a@2: train again."],
    )
    reembedding: Reembedding | None = None
    rescoring: Rescoring | None = Field(None, description="of a head")


class ModelDetail(Model):
    """A model with its versions and its last changes, the newest first."""

    versions: list[ModelVersion]
    history: list[Activation]


class Disagreement(Shape):
    """A photo of which two versions say different things."""

    photo_id: str
    difference: float
    active_says: str
    shadow_says: str
    active_confidence: float | None
    shadow_confidence: float | None
    error: str | None
    compared_at: datetime


class ShadowReport(Shape):
    """What a version says beside the one that held. `agreement` with its 95 % Wilson interval."""

    name: ModelName
    shadow: str
    photos: int
    agreed: int
    failed: int
    agreement: float | None
    agreement_low: float | None
    agreement_high: float | None
    mean_difference: float | None
    active_ms: float | None = Field(description="median milliseconds of a photo")
    shadow_ms: float | None
    disagreements: list[Disagreement] = Field(description="the largest differences first")

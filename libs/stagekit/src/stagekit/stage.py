"""A stage of the pipeline, as it is declared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from pydantic import Field, field_validator

from darkroom_schemas.names import (
    PHOTO_ANALYSIS_REQUESTED,
    PHOTO_MODEL_COMPARED,
    PHOTO_STAGE_FAILED,
)
from stagekit.beside import Says
from stagekit.labelling import Labelling
from stagekit.loaded import Found, Loaded
from stagekit.versions import Options
from streamkit import Lane, ObjectSettings, WorkerSettings

REQUESTS: Final = PHOTO_ANALYSIS_REQUESTED
"""What every stage reads, by lane."""


class StageSettings(ObjectSettings, WorkerSettings):
    """Settings that every stage has."""

    models: bool = Field(
        True, description="obey model.activated.v1 and write model.reported.v1; they must exist"
    )
    models_cache: Path = Field(
        Path("~/.cache/darkroom/models"), description="folder of checkpoints of the registry"
    )
    idle_unload_s: float = Field(
        0.0, ge=0, description="an engine unused for so long gives its memory back; 0: never"
    )

    @field_validator("models_cache")
    @classmethod
    def _below_home(cls, value: Path) -> Path:
        return value.expanduser()


S = TypeVar("S", bound=StageSettings)


@dataclass(frozen=True, slots=True)
class Also:
    """Requests for a stage's work outside of any analysis, on one of its lanes.

    `answer` makes the event of `into` out of the request, what every answer says (engine,
    model_version, ms, finished_at), and what was found or the sentence why nothing was.
    """

    topic: str
    lane: str
    into: str
    answer: Callable[[Mapping[str, Any], Mapping[str, Any], Found | str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Stage(Generic[S]):
    """A stage of the pipeline, as it is known before its engine is loaded.

    `load` is called in every engine process, so it has to be a function of a module. `preload`
    names modules that those processes share. `options`: what a version of its model may set (None:
    nothing, not even its engine). `says`: what of its findings is compared between two versions
    (None: nothing is). `labelling`: how its parts get labels of the photo's owner (None: not).
    """

    name: str
    version: str
    topic: str
    load: Callable[[S], Loaded]
    preload: tuple[str, ...] = ()
    options: Options | None = None
    says: Says | None = None
    also: tuple[Also, ...] = ()
    labelling: Callable[[S], Labelling] | None = None

    @property
    def writes(self) -> tuple[str, ...]:
        """Topics of the events of its handlers."""
        compares = self.says is not None or self.labelling is not None
        compared = (PHOTO_MODEL_COMPARED,) if compares else ()
        return (self.topic, PHOTO_STAGE_FAILED, *compared, *(one.into for one in self.also))

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes of the requests, with what else is asked for on them."""
        return tuple(
            Lane(name, (topic, *(one.topic for one in self.also if one.lane == name)))
            for name, topic in REQUESTS.items()
        )

"""The user's own labels: what trained heads say of a photo's vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darkroom_schemas.heads import ENGINE, FILE, head_of
from embedder.settings import Settings
from heads import Head, HeadError, labels_of
from stagekit import Found, Label, Labelling, Version, VersionError

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class OwnLabeller:
    """See stagekit's Labeller."""

    head: Head

    @property
    def model_version(self) -> str:
        """Of the embeddings."""
        return self.head.model_version

    def labels(self, seen: Vectors) -> Sequence[Label]:
        """The head's labels of a photo, best first."""
        (labels,) = labels_of(self.head, seen)
        return labels


def labelling(settings: Settings) -> Labelling:
    """How photos get their owners' labels."""
    return Labelling(owner_of, load, vectors, settings.heads_most)


def owner_of(model: str) -> str | None:
    """Whose head a model is; None for what is none."""
    head = head_of(model)
    return None if head is None else head.owner


def load(version: Version, folder: Path | None) -> OwnLabeller:
    """A version of a head. Raises VersionError."""
    if version.engine != ENGINE or folder is None or not (folder / FILE).exists():
        raise VersionError(
            f"{version.version} is no head: its engine is {ENGINE}, its file {FILE}."
        )
    try:
        return OwnLabeller(Head.load(folder / FILE))
    except HeadError as error:
        raise VersionError(str(error)) from error


def vectors(found: Found) -> Vectors:
    """What heads look at: the photo's vector, the only row."""
    return np.array([found["vector"]], np.float32)

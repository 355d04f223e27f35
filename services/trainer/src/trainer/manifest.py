"""What a training learns from: the manifest and the vectors that the gateway prepared."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import numpy as np

from heads import Head, HeadError
from streamkit import ObjectStore, Reject
from trainer.examples import Examples, ExamplesError, Floats, Label, poisoned
from trainer.policy import USUAL, Policy

FORMAT: Final = 1

_MOST_MANIFEST: Final = 128 << 20
_MOST_VECTORS: Final = 2 << 30
_MOST_HEAD: Final = 256 << 20
_MOST_REPORT: Final = 128 << 20


class ManifestError(ValueError):
    """Nothing can be learned by this manifest, however often it is read; says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Active:
    """The head in use, and what its own assessment said of the examples that it was taught."""

    version: str
    head: Head
    said: Mapping[str, Label]


@dataclass(frozen=True, slots=True)
class Told:
    """What a photo is an example of, and who said so: person, review, folder or auto."""

    label: Label
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """All that a training goes by.

    `told`: of all examples. `poisoned`: examples that were left out, and why. `active` is None
    where no head is in use, or one for other embeddings, which no example can be asked of;
    `unreadable`: why the one in use can't be compared with though it should be.
    """

    sha256: str
    labels: tuple[str, ...]
    model_version: str
    examples: Examples
    told: Mapping[str, Told]
    poisoned: Mapping[str, str]
    policy: Policy
    seed: int
    time_limit_s: float
    active: Active | None
    unreadable: str


def read(store: ObjectStore, uri: str, digest: str) -> Lesson:
    """The lesson that a manifest tells. Raises ManifestError; Retry while the store is away."""
    told = _json(_checked(store, "the manifest", {"uri": uri, "sha256": digest}, _MOST_MANIFEST))
    try:
        if told["format"] != FORMAT:
            raise ManifestError(f"The manifest has the format {told['format']}; known is {FORMAT}.")
        model_version = _text(told["model_version"])
        examples, left_out = _examples(
            told["examples"],
            _vectors(_checked(store, "the vectors", told["vectors"], _MOST_VECTORS)),
        )
        active, unreadable = _active(store, told["active"], model_version, examples)
        return Lesson(
            sha256=digest,
            labels=tuple(_text(label) for label in told["labels"]),
            model_version=model_version,
            examples=examples,
            told={
                _text(one["photo_id"]): Told(one["label"], _text(one["source"]))
                for one in told["examples"]
            },
            poisoned=left_out,
            policy=_policy(told["policy"]),
            seed=int(told["seed"]),
            time_limit_s=float(told["time_limit_s"]),
            active=active,
            unreadable=unreadable,
        )
    except ExamplesError as error:
        raise ManifestError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(
            f"The manifest is not as it should be: {type(error).__name__}: {error}."
        ) from error


def _examples(told: Any, vectors: Floats) -> tuple[Examples, Mapping[str, str]]:
    if len(told) != len(vectors):
        raise ManifestError(f"There are {len(told)} examples, but {len(vectors)} vectors.")
    keys = [_text(one["photo_id"]) for one in told]
    labels = [None if one["label"] is None else _text(one["label"]) for one in told]
    weights = [float(one["weight"]) for one in told]
    bad = poisoned(keys, vectors)
    good = [at for at, key in enumerate(keys) if key not in bad]
    examples = Examples.of(
        [keys[at] for at in good],
        [labels[at] for at in good],
        vectors[good],
        [weights[at] for at in good],
    )
    return examples, bad


def _vectors(data: bytes) -> Floats:
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ManifestError(f"The vectors can't be read: {error}.") from error
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype != np.float32:
        raise ManifestError("The vectors are no table of float32.")
    return found


def _policy(told: Any) -> Policy:
    policy = replace(
        USUAL,
        least_accuracy=float(told["least_accuracy"]),
        least_examples=int(told["least_examples"]),
    )
    if not (0 <= policy.least_accuracy <= 1 and policy.least_examples >= 1):
        raise ManifestError("The policy asks for what can't be: an accuracy is from 0 to 1.")
    return policy


def _active(
    store: ObjectStore, told: Any, model_version: str, examples: Examples
) -> tuple[Active | None, str]:
    """The head in use; or why it can't be compared with."""
    if told is None:
        return None, ""
    version = _text(told["version"])
    try:
        head = Head.of(_checked(store, f"the head {version}", told["head"], _MOST_HEAD))
    except (ManifestError, HeadError) as error:
        return None, f"the version in use ({version}) can't be compared with: {error}"
    if head.model_version != model_version or head.dimension != examples.vectors.shape[1]:
        return None, ""
    return Active(version, head, _said(store, told["report_uri"])), ""


def _said(store: ObjectStore, uri: str | None) -> Mapping[str, Label]:
    """Without its report a head is asked about what it was taught, which can only flatter it."""
    if uri is None:
        return {}
    try:
        said = _json(store.get(uri, limit=_MOST_REPORT))["said"]
        return {_text(key): None if one is None else _text(one) for key, one in said.items()}
    except (Reject, ManifestError, KeyError, TypeError, AttributeError):
        return {}


def _checked(store: ObjectStore, what: str, told: Any, most: int) -> bytes:
    """Raises ManifestError for what is not there, or is not what it is said to be."""
    try:
        data = store.get(_text(told["uri"]), limit=most)
    except Reject as error:
        raise ManifestError(f"Of {what}: {error.message}") from error
    if sha256(data).hexdigest() != told["sha256"]:
        raise ManifestError(f"Of {what} the bytes are not those that were prepared.")
    return data


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"This is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ManifestError("This is JSON, but no object.")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value

"""Versions of a stage's model, as `model.activated.v1` tells them."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, Final, Self, TypeVar, get_origin
from uuid import uuid4

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from darkroom_schemas.model_options import unknown
from streamkit import Reject, WorkerSettings

_PIECE: Final = 1 << 20
_CURE: Final = "Register the same folder again: what is missing or changed is stored anew."

_IN_A_HUB: Final = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}(#sha256:[0-9a-f]{64})?")
"""A checkpoint of a model hub, pinned by its commit."""

_FILE: Final = {
    "type": "string",
    "pattern": r"^\./",
    "description": "./PATH below the version's own files",
}
_CHECKPOINT: Final = {
    "type": "string",
    "pattern": rf"^(\./.*|{_IN_A_HUB.pattern})$",
    "description": "./PATH below the version's own files, or owner/name@COMMIT at a model hub",
}
_TEXT: Final = {
    "type": "string",
    "pattern": r"^\s*\{",
    "description": "the JSON itself, not where it lies",
}

S = TypeVar("S", bound=WorkerSettings)


class VersionError(ValueError):
    """A version that can't be had here: a sentence with the cause."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a checkpoint: its path below the checkpoint's folder, and its bytes."""

    path: str
    uri: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Version:
    """All that an engine needs to be this version; `options` are settings of the stage by name.

    `built_in`: it is what services have by their own settings.
    """

    version: str
    engine: str
    options: Mapping[str, str]
    files: tuple[File, ...] = ()
    built_in: bool = False

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Self:
        """From a `ModelVersion` of the schema."""
        files = tuple(File(one["path"], one["uri"], one["sha256"]) for one in value["files"])
        options = dict(value["options"])
        return cls(value["version"], value["engine"], options, files, value["built_in"])


@dataclass(frozen=True, slots=True)
class Activation:
    """What holds from `generation` on; `shadow` looks at `share` (0 to 1) of the photos."""

    generation: int
    active: Version
    shadow: Version | None = None
    share: float = 0.0

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Self:
        """From an event of `model.activated.v1`."""
        shadow = value["shadow"]
        return cls(
            value["generation"],
            Version.of(value["active"]),
            None if shadow is None else Version.of(shadow),
            value["shadow_share"],
        )


@dataclass(frozen=True, slots=True)
class Takes:
    """What versions of a stage's model may be: engines by name, options with the JSON Schema of
    their values, which are texts."""

    engines: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


def _not_told() -> tuple[str, ...]:
    """No names of engines."""
    return ()


@dataclass(frozen=True, slots=True)
class Options:
    """Which settings of a stage a version may set.

    `engine` names its engine. `paths` are checkpoints: the first one is the folder of the version's
    files unless the version says otherwise, `./PATH` lies below it, or one of a hub by its commit.
    `files` are single files, `./PATH` too. `texts` may be files for a service, but a version holds
    the JSON itself. `others` are plain, lists as JSON. What a version does not set has the
    setting's default, whatever the service was started with: a version is the same everywhere, so
    it names nothing that may lie or be otherwise on one machine. `engines` gives the names of the
    built-in engines; it is called in engine processes alone, since finding them may import much.
    """

    engine: str
    paths: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    engines: Callable[[], Iterable[str]] = _not_told

    @property
    def names(self) -> tuple[str, ...]:
        """Of all settings that a version may set."""
        return (*self.paths, *self.files, *self.texts, *self.others)

    def takes(self, settings: type[WorkerSettings]) -> Takes:
        """What is told to whoever registers versions, derived from the settings themselves."""
        properties = settings.model_json_schema()["properties"]
        schemas = {
            **{name: _shown(properties[name]) for name in self.others},
            **dict.fromkeys(self.paths, _CHECKPOINT),
            **dict.fromkeys(self.files, _FILE),
            **dict.fromkeys(self.texts, _TEXT),
        }
        options = {name: json.dumps(schemas[name]) for name in self.names}
        return Takes(tuple(self.engines()), options)

    def settings(self, own: S, version: Version, folder: Path | None) -> S:
        """The service's settings for this version, its files in `folder`. Raises VersionError."""
        allowed = self.names
        if strange := sorted(set(version.options) - set(allowed)):
            raise VersionError(unknown("option", strange[0], allowed))
        fields = type(own).model_fields
        values: dict[str, Any] = {
            name: fields[name].get_default(call_default_factory=True) for name in allowed
        }
        if folder is not None and self.paths:
            values[self.paths[0]] = str(folder)
        for name, value in version.options.items():
            values[name] = self._value(name, value, folder, fields[name])
        try:
            return type(own)(**{**own.model_dump(), **values, self.engine: version.engine})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise VersionError(f"{place}: {first['msg']}") from error

    def _value(self, name: str, value: str, folder: Path | None, field: FieldInfo) -> Any:
        if name in self.paths and _IN_A_HUB.fullmatch(value):
            return value
        if name in self.paths or name in self.files:
            return _below(folder, value)
        if name in self.texts and not value.lstrip().startswith("{"):
            raise VersionError(f"{name} has to be the JSON itself, not where it lies")
        return _plain(value, field)


def _shown(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A setting's schema without what says nothing of its values."""
    return {name: value for name, value in schema.items() if name not in ("title", "default")}


def _plain(value: str, field: FieldInfo) -> Any:
    """As settings are read from the environment: lists are JSON."""
    if get_origin(field.annotation) not in (tuple, list, dict):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise VersionError(f"{value[:50]!r} has to be JSON: {error}") from error


def _below(folder: Path | None, value: str) -> str:
    """The place of one of the version's own files or folders."""
    path = PurePosixPath(value)
    if not value.startswith("./") or ".." in path.parts:
        raise VersionError(
            f"{value} lies outside the version's own files: ./PATH is below their folder"
        )
    if folder is None:
        raise VersionError(f"{value} is no file of this version, which has none")
    return str(folder / path)


Open = Callable[[str], BinaryIO]
"""A file in the object store by its URI; raises Reject (`object_missing`, …) or Retry."""


def fetched(files: Sequence[File], open_: Open, cache: Path) -> Path | None:
    """A folder with these files, fetched unless they are there; None if there are none.

    Bytes are kept once below `cache`, by their hash. Raises VersionError for bytes that are not
    there, or not those that were registered; Retry as `open_` does.
    """
    if not files:
        return None
    names = "\n".join(f"{one.sha256}  {one.path}" for one in sorted(files, key=lambda f: f.path))
    folder = cache / "versions" / hashlib.sha256(names.encode()).hexdigest()[:32]
    for one in files:
        path = PurePosixPath(one.path)
        if path.is_absolute() or ".." in path.parts:
            raise VersionError(f"{one.path} lies outside the version's folder")
        place = folder / path
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            _link(_bytes_of(one, open_, cache / "files"), place)
    return folder


def _bytes_of(file: File, open_: Open, cache: Path) -> Path:
    place = cache / file.sha256
    if place.exists():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        stored = open_(file.uri)
    except Reject as error:
        raise VersionError(f"{file.path} can't be had: {error.message} {_CURE}") from error
    # Under another name until it is whole and right: another process may be fetching it too.
    with stored as source, NamedTemporaryFile(dir=cache, delete=False) as target:
        try:
            while piece := source.read(_PIECE):
                digest.update(piece)
                target.write(piece)
            if digest.hexdigest() != file.sha256:
                raise VersionError(f"{file.path} is not the file that was registered. {_CURE}")
            Path(target.name).rename(place)
        except BaseException:
            Path(target.name).unlink(missing_ok=True)
            raise
    return place


def _link(file: Path, place: Path) -> None:
    """Give the bytes their name in a version's folder; others may do so as well."""
    mark = place.with_name(f"{place.name}.{uuid4().hex}")
    mark.hardlink_to(file)
    mark.rename(place)

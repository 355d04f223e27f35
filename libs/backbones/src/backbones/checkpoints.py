"""Finding a checkpoint of transformers: in a folder, in the hub's cache, or at a model hub.

Only finds and checks; importing this does not import transformers. What loads one is
`backbones.pretrained`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backbones import hub, manifest
from backbones.references import CheckpointError, Reference, parse

__all__ = ["Checkpoint", "CheckpointError", "Policy", "find"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be used.

    `allow_pickle`: weights whose loading can run code. `allow_names`: branches and tags instead of
    commits. `download`: ask a hub for what is not on this machine.
    """

    allow_pickle: bool = False
    allow_names: bool = False
    download: bool = True


STRICT: Final = Policy()
"""Safetensors of a fixed commit."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Complete and checked files. `sha256`: of their manifest, see `manifest.digest`."""

    name: str
    folder: Path
    files: tuple[str, ...]
    sha256: str
    allow_pickle: bool

    @property
    def version(self) -> str:
        """The name and the first 12 hex digits of the manifest's SHA-256."""
        return f"{self.name}@{self.sha256[:12]}"


def find(reference: str, policy: Policy = STRICT) -> Checkpoint:
    """The checkpoint that `reference` names, see `references.parse`; blocks while it downloads.

    What is on this machine is taken before a hub is asked. Raises CheckpointError where it is
    missing, incomplete, of a format that is not allowed, or not the one that is pinned.
    """
    wanted = parse(reference, allow_names=policy.allow_names)
    folder, files = _located(wanted, policy)
    name = wanted.hub_id.rpartition("/")[2] or folder.resolve().name
    sha256 = manifest.digest(folder, files)
    if wanted.sha256 and wanted.sha256 != sha256:
        raise CheckpointError(
            f"{reference} is not what it was: the SHA-256 of its manifest is {sha256}. Either the"
            " files were changed, or other ones were meant when the setting was written."
        )
    return Checkpoint(name, folder, files, sha256, policy.allow_pickle)


def _located(wanted: Reference, policy: Policy) -> tuple[Path, tuple[str, ...]]:
    if wanted.folder is not None:
        return wanted.folder, manifest.files_of(wanted.folder, allow_pickle=policy.allow_pickle)
    earlier = hub.cached(wanted.hub_id, wanted.revision)
    if earlier is not None:
        try:
            return earlier, manifest.files_of(earlier, allow_pickle=policy.allow_pickle)
        except CheckpointError:
            if not policy.download:
                raise
    if not policy.download:
        raise CheckpointError(f"{wanted.hub_id}@{wanted.revision} is not on this machine.")
    names = manifest.patterns(allow_pickle=policy.allow_pickle)
    folder = hub.download(wanted.hub_id, wanted.revision, names)
    return folder, manifest.files_of(folder, allow_pickle=policy.allow_pickle)

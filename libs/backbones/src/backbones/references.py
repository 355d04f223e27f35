"""How a setting names a checkpoint."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HUB_ID: Final = re.compile(r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PINNED_BY: Final = "#sha256:"


class CheckpointError(RuntimeError):
    """A checkpoint that can't be used, in sentences: what is wrong, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Either a folder, or the `hub_id` (`owner/name`) and revision at a model hub.

    `sha256`: what its manifest has to be, in hex; empty where it is not pinned.
    """

    folder: Path | None
    hub_id: str
    revision: str
    sha256: str


def parse(text: str, *, allow_names: bool = False) -> Reference:
    """The reference that `text` is: a folder, or `owner/name@revision`, then `#sha256:HEX` or not.

    A folder that exists goes before a hub's id of the same spelling. A revision is a commit of 40
    hex digits; `allow_names`: or a branch or tag, whose content may change from day to day. Raises
    CheckpointError.
    """
    place, pinned, digest = text.strip().rpartition(_PINNED_BY)
    if not pinned:
        place, digest = digest, ""
    elif not _SHA256.fullmatch(digest):
        raise CheckpointError(f"{text!r}: after {_PINNED_BY} have to follow 64 hex digits.")
    folder = Path(place).expanduser()
    if place and folder.is_dir():
        return Reference(folder, "", "", digest)
    hub = _HUB_ID.fullmatch(place)
    if hub is None:
        raise CheckpointError(
            f"There is no folder {place!r}. A checkpoint is named by its folder, or by its id at a"
            " model hub and a commit: owner/name@COMMIT."
        )
    return Reference(None, hub["id"], _revision(hub["id"], hub["revision"], allow_names), digest)


def _revision(hub_id: str, said: str | None, allow_names: bool) -> str:
    revision = said or "main"
    if allow_names or _COMMIT.fullmatch(revision):
        return revision
    raise CheckpointError(
        f"There is no folder {hub_id!r}, and as a model at a hub it lacks its commit: write"
        f" {hub_id}@ and the 40 hex digits that the hub shows beside the newest commit of the"
        f" model's files. {revision!r} may mean other weights tomorrow; the setting"
        " checkpoints_allow_names permits it nevertheless."
    )

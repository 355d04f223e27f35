"""A folder of photos for each label: which label each of them is meant for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darkroom_cli.client import GatewayError
from darkroom_cli.local_files import shown, walk

NONE: Final = "none"
"""The folder of photos that no label fits."""


@dataclass(frozen=True, slots=True)
class LabelFolders:
    """Folders with the labels of all photos below them, None if no label fits; `outside` are files
    beside them, which are left alone."""

    folders: dict[Path, str | None]
    outside: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """Labels that a photo is brought for."""
        return [*dict.fromkeys(one for one in self.folders.values() if one is not None)]

    @property
    def paths(self) -> dict[str, str | None]:
        """The folders' paths as an import has them."""
        return {shown(str(path)): label for path, label in self.folders.items()}


def label_folders(root: Path, known: Sequence[str]) -> LabelFolders:
    """The folders in `root` (absolute). One that is called like a label that is known means that
    one; upper case, lower case and `_` for a space are the same. Raises GatewayError.
    """
    meant = {_plain(label): label for label in known}
    folders: dict[Path, str | None] = {}
    outside = []
    try:
        inside = sorted(root.iterdir())
    except OSError as error:
        raise GatewayError(f"{root} can't be read: {error.strerror}") from error
    for path in inside:
        if path.name.startswith(".") or path.is_symlink():
            continue
        if not path.is_dir():
            outside.append(path.name)
        elif any(True for _ in walk([path])):
            plain = _plain(path.name)
            label = meant.setdefault(plain, path.name.strip())
            folders[path] = None if plain == NONE else label
    if not folders:
        raise GatewayError(
            f"{root} has no folders with photos; make one for each label, called like it"
        )
    return LabelFolders(folders, tuple(outside))


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())

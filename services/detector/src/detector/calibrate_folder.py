"""A labelled folder: `LABEL/photo.jpg`, and `none/photo.jpg` for what no label fits.

Photos in a folder below that of their label (`LABEL/monday/…`) are of one group: a burst, a day, a
subject. A calibration is never tried on photos of a group that it was fitted on.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from detector.calibrate_examples import CalibrateError, Example, Names, UnusableError
from imaging import LIMITS

MOST_FILES: Final = 1_000_000
"""Files that are listed; no calibration needs as many."""


def labelled(folder: Path, names: Names) -> list[Example]:
    """Every file below the folders that are named as labels, by label and path.

    Names that begin with a dot are passed over. Raises CalibrateError: no such folder, none in it,
    or names that are no labels (which are told with those that are most like them).
    """
    inside = _folders(folder)
    strange = [one.name for one in inside if names.label(one.name) is None]
    if strange:
        raise CalibrateError("\n".join(_unknown(name, names) for name in strange))
    found = [one for label in inside for one in _photos(folder, label, names)]
    if len(found) > MOST_FILES:
        raise CalibrateError(f"{folder} has more than {MOST_FILES:,} files; give some of them.")
    return found


def read(folder: Path, example: Example) -> bytes:
    """The bytes of a photo. Raises UnusableError."""
    path = folder / example.name
    try:
        if path.stat().st_size > LIMITS.max_bytes:
            raise UnusableError(f"The file is larger than {LIMITS.max_bytes:,} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise UnusableError(f"The file can't be read: {error.strerror}.") from error


def _folders(folder: Path) -> list[Path]:
    try:
        inside = sorted(one for one in folder.iterdir() if one.is_dir() and not _hidden(one.name))
    except OSError as error:
        raise CalibrateError(f"{folder} can't be listed: {error.strerror}.") from error
    if not inside:
        raise CalibrateError(
            f"{folder} has no folders: put the photos into one for each label, named like it, and"
            " what no label fits into `none`."
        )
    return inside


def _photos(folder: Path, of_label: Path, names: Names) -> Iterator[Example]:
    label = names.label(of_label.name) or of_label.name
    files = (path for path in of_label.rglob("*") if path.is_file())
    for path in sorted(islice(files, MOST_FILES + 1)):
        below = path.relative_to(of_label).parts
        if not any(map(_hidden, below)):
            group = Path(of_label.name, below[0])
            yield Example(str(path.relative_to(folder)), label, str(group))


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _unknown(name: str, names: Names) -> str:
    like = ", ".join(f"'{label}'" for label in names.like(name))
    hint = f"did you mean {like}?" if like else "no label is like it."
    return f"'{name}' is no label of this model: {hint}"

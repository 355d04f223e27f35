"""Which folders may be imported from: a request must not read the whole machine."""

import json
from collections.abc import Collection
from pathlib import Path

from gateway.api.problems import ProblemError


def allowed_roots(listed: Collection[Path], file: Path | None) -> list[Path]:
    """The roots of the settings and of the file, resolved; the file is read anew each time.

    Whoever can write that file can name a root: a line is a JSON string, so that no name of a
    folder reads like two. Lines that are no absolute path are skipped.
    """
    named = list(listed)
    if file is not None and file.is_file():
        lines = file.read_bytes().split(b"\n")
        named += [Path(path) for line in lines if (path := _path_in(line)) is not None]
    return [path.resolve() for path in named if path.is_absolute()]


def _path_in(line: bytes) -> str | None:
    try:
        path = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return path if isinstance(path, str) and _is_text(path) and "\0" not in path else None


def _is_text(path: str) -> bool:
    """Whether UTF-8 can say it: lone surrogates, which JSON can carry, are no text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def resolve(path: str, allowed: Collection[Path]) -> str:
    """The path without symbolic links, if it lies at or below an allowed root.

    Raises ProblemError: 422 for a path that is not absolute, 403 outside the roots, 404 where
    nothing is. Outside the roots nothing is said about what exists.
    """
    if not path.startswith("/") or "\0" in path:
        raise ProblemError(422, "path_not_absolute", f"{path!r} is not an absolute path.")
    if not _is_text(path):
        raise ProblemError(422, "path_unreadable", f"{path!r} is not UTF-8.")
    try:
        resolved = Path(path).resolve()
    except (OSError, RuntimeError) as error:  # a loop of symbolic links
        raise ProblemError(422, "path_unreadable", f"{path!r} leads nowhere.") from error
    if not any(resolved.is_relative_to(root) for root in allowed):
        cure = (
            "It is outside the folders that may be imported from. Run `./darkroom import PATH`, "
            "which allows the folder, or add it to the setting DARKROOM_IMPORT_ROOTS."
        )
        raise ProblemError(403, "outside_import_roots", f"{path}: {cure}")
    if not resolved.exists():
        raise ProblemError(404, "path_not_found", f"There is nothing at {path}.")
    if not _is_text(str(resolved)):  # a symbolic link leads there
        raise ProblemError(422, "path_unreadable", f"{path} leads to a name that is not UTF-8.")
    return str(resolved)

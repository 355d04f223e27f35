"""Which folders may be imported from: a request must not read the whole machine."""

from collections.abc import Collection
from pathlib import Path

from gateway.api.problems import ProblemError


def allowed_roots(listed: Collection[Path], file: Path | None) -> list[Path]:
    """The roots of the settings and of the file, resolved; the file is read anew each time.

    Whoever can write that file can name a root. Lines that are no absolute path are skipped.
    """
    named = list(listed)
    if file is not None and file.is_file():
        lines = file.read_text(encoding="utf-8").splitlines()
        named += [Path(line) for line in lines if line.startswith("/")]
    return [path.resolve() for path in named if path.is_absolute()]


def resolve(path: str, allowed: Collection[Path]) -> str:
    """The path without symbolic links, if it lies at or below an allowed root.

    Raises ProblemError: 422 for a path that is not absolute, 403 outside the roots, 404 where
    nothing is. Outside the roots nothing is said about what exists.
    """
    if not path.startswith("/") or "\0" in path:
        raise ProblemError(422, "path_not_absolute", f"{path!r} is not an absolute path.")
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
    return str(resolved)

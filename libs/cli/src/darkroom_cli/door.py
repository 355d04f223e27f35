"""Finding the gateway that runs on this machine, and letting it read what its owner names."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from darkroom_cli.client import Gateway, GatewayError
from darkroom_cli.paths import DataFolder
from darkroom_cli.settings import CliSettings
from darkroom_cli.supervision.state import read_state


def gateway(url: str | None, data: DataFolder) -> Gateway:
    """The gateway at `url`, else that of the stack in the data folder.

    Raises GatewayError when neither is known.
    """
    key = CliSettings().api_key
    if url is not None:
        return Gateway(url, _tell, key)
    state = read_state(data.state_file)
    if state is None or "api" not in state.addresses:
        raise GatewayError("Darkroom is not up; start it with `./darkroom up --detach`")
    return Gateway(state.addresses["api"], _tell, key)


def _tell(line: str) -> None:
    typer.echo(f"darkroom: {line}", err=True)


@contextmanager
def allowed(roots: Sequence[Path], data: DataFolder) -> Iterator[None]:
    """As `allow`; if the context ends by an error, what that allowed is taken back."""
    new = allow(roots, data)
    try:
        yield
    except BaseException:
        forbid(new, data)
        raise


def allow(roots: Sequence[Path], data: DataFolder) -> Sequence[Path]:
    """Let the gateway of the data folder import from `roots`; gives those that are new to it.

    Whoever can write the data folder may name a root; the file is its owner's alone. A line is a
    JSON string: a folder whose name has a line break must not let in another one. Raises
    GatewayError for a name that can't be sent.
    """
    if not data.run.is_dir():
        return ()  # a gateway elsewhere decides by its own settings
    file = data.import_roots_file
    known = file.read_bytes().split(b"\n") if file.is_file() else [b""]
    new = {root: line for root in roots if (line := _line_of(root)) not in known}
    cut = [b""] if known[-1] != b"" else []  # the end of the last line is missing
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "ab") as out:
        out.write(b"".join(line + b"\n" for line in (*cut, *new.values())))
    return tuple(new)


def forbid(roots: Sequence[Path], data: DataFolder) -> None:
    """Take back what `allow` gave."""
    file = data.import_roots_file
    if not roots or not file.is_file():
        return
    gone = {_line_of(root) for root in roots}
    left = [line for line in file.read_bytes().splitlines() if line not in gone]
    fresh = file.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(b"".join(line + b"\n" for line in left))
    fresh.replace(file)


def _line_of(root: Path) -> bytes:
    try:
        str(root).encode()
    except UnicodeEncodeError as error:
        raise GatewayError("the folder's name is not UTF-8; import the one above it") from error
    return json.dumps(str(root)).encode()

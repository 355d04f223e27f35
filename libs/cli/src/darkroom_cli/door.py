"""Finding the gateway that runs on this machine, and letting it read what its owner names."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from darkroom_cli.client import Gateway, GatewayError
from darkroom_cli.paths import DataFolder
from darkroom_cli.supervision.state import read_state


def gateway(url: str | None, data: DataFolder) -> Gateway:
    """The gateway at `url`, else that of the stack in the data folder.

    Raises GatewayError when neither is known.
    """
    if url is not None:
        return Gateway(url)
    state = read_state(data.state_file)
    if state is None or "api" not in state.addresses:
        raise GatewayError("Darkroom is not up; start it with `./darkroom up --detach`")
    return Gateway(state.addresses["api"])


def allow(roots: Sequence[Path], data: DataFolder) -> None:
    """Let the gateway of the data folder import from `roots`.

    Whoever can write the data folder may name a root; the file is its owner's alone. A line is a
    JSON string: a folder whose name has a line break must not let in another one. Raises
    GatewayError for a name that can't be sent.
    """
    if not data.run.is_dir():
        return  # a gateway elsewhere decides by its own settings
    file = data.import_roots_file
    known = file.read_bytes().split(b"\n") if file.is_file() else [b""]
    new = [line for root in roots if (line := _line_of(root)) not in known]
    if known[-1] != b"":  # the end of the last line is missing
        new.insert(0, b"")
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "ab") as out:
        out.write(b"".join(line + b"\n" for line in new))


def _line_of(root: Path) -> bytes:
    try:
        str(root).encode()
    except UnicodeEncodeError as error:
        raise GatewayError("the folder's name is not UTF-8; import the one above it") from error
    return json.dumps(str(root)).encode()

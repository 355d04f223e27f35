"""Finding the gateway that runs on this machine, and letting it read what its owner names."""

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

    Whoever can write the data folder may name a root; the file is its owner's alone. Raises
    GatewayError for a name that can't be sent.
    """
    if not data.run.is_dir():
        return  # a gateway elsewhere decides by its own settings
    file = data.import_roots_file
    known = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    try:
        new = [str(root) for root in roots if str(root) not in known]
        lines = "".join(f"{line}\n" for line in new).encode()
    except UnicodeEncodeError as error:
        raise GatewayError("the folder's name is not UTF-8; import the one above it") from error
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "ab") as out:
        out.write(lines)

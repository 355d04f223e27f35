"""A checkpoint from a model hub, or from what was fetched from one earlier.

Whoever waits for an engine wants to know within seconds that there is no hub to be had: the first
contact has a deadline, name resolution included, and nothing is tried twice.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from backbones.references import CheckpointError

_CONTACT_S: Final = 5.0
"""Seconds for the hub to answer one request."""

_WAIT_S: Final = 8.0
"""Seconds to wait for that answer in all; resolving a name has no time limit of its own."""

T = TypeVar("T")


def cached(hub_id: str, revision: str) -> Path | None:
    """The folder of an earlier download, perhaps of half of it; None where there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def download(hub_id: str, revision: str, patterns: Sequence[str]) -> Path:
    """The folder of the model's files at that revision, fetched where they are not there yet.

    Raises CheckpointError, within `_WAIT_S` where the hub can't be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        _within(_WAIT_S, lambda: HfApi().model_info(hub_id, revision=revision, timeout=_CONTACT_S))
        folder = snapshot_download(
            hub_id,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=["*/*"],
            etag_timeout=_CONTACT_S,
        )
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"The model hub knows no {hub_id}, or shows it to members only: look at how it is"
            " spelled, or set HF_TOKEN."
        ) from error
    except HfHubHTTPError as error:
        raise CheckpointError(
            f"The model hub refuses {hub_id}@{revision}: {_first_line(error)}"
        ) from error
    except _no_connection() as error:
        raise CheckpointError(_unreachable(hub_id, revision, error)) from error
    except OSError as error:
        raise CheckpointError(
            f"{hub_id}@{revision} can't be stored on this machine: {_first_line(error)}. Make room,"
            " or set HF_HOME to a folder that has it."
        ) from error
    return Path(folder)


def _no_connection() -> tuple[type[Exception], ...]:
    """What the hub's client raises where there is no way to the hub, or it is told not to go."""
    import httpx
    from huggingface_hub.errors import LocalEntryNotFoundError

    return (httpx.HTTPError, ConnectionError, TimeoutError, LocalEntryNotFoundError)


def _unreachable(hub_id: str, revision: str, error: Exception) -> str:
    return (
        f"{hub_id}@{revision} is not on this machine, and the model hub can't be reached"
        f" ({type(error).__name__}: {_first_line(error)}). On a machine that can, run"
        f" `hf download {hub_id} --revision {revision} --local-dir FOLDER`, bring the folder here"
        " and name it in the setting instead; or bring the hub's cache and set HF_HOME to it."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` gives or raises; TimeoutError after that time, with `ask` left to itself."""
    answers: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def work() -> None:
        try:
            answers.put((ask(), None))
        except Exception as error:  # noqa: BLE001 - raised again where it was asked
            answers.put((None, error))

    threading.Thread(target=work, name="model hub", daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer for {seconds:.0f} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]  # None only beside an error

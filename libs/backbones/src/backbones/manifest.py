"""Which files of a checkpoint's folder are read, and the one hash that stands for all of them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backbones.references import CheckpointError

CONFIG: Final = "config.json"

_BESIDE: Final = (
    "added_tokens.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""What transformers reads beside the network, where it is there."""

_SAFE: Final = "model.safetensors"
_PICKLED: Final = "pytorch_model.bin"
_INDEX: Final = ".index.json"

LARGEST_INDEX: Final = 64 * 1024 * 1024
"""Bytes of an index of shards; those of the largest models have a few."""


def patterns(*, allow_pickle: bool) -> tuple[str, ...]:
    """Names of the files that are worth fetching, with `*`."""
    weights = ("*.safetensors", _SAFE + _INDEX)
    pickled = ("pytorch_model*.bin", _PICKLED + _INDEX) if allow_pickle else ()
    return (CONFIG, *_BESIDE, *weights, *pickled)


def files_of(folder: Path, *, allow_pickle: bool) -> tuple[str, ...]:
    """Names of the files that loading reads, sorted.

    Raises CheckpointError that names the file where one is missing, and where the weights are only
    there as a pickle and that is not allowed.
    """
    if not (folder / CONFIG).is_file():
        raise CheckpointError(
            f"{folder} has no {CONFIG}, so it is no checkpoint of transformers, or half of one."
        )
    beside = [name for name in _BESIDE if (folder / name).is_file()]
    return tuple(sorted((CONFIG, *beside, *_weights(folder, allow_pickle))))


def digest(folder: Path, files: Sequence[str]) -> str:
    """SHA-256 in hex of the lines `sha256(file)  name` of the files, sorted by name.

    So `sha256sum` of the same files, sorted by name and hashed once more, gives it too.
    """
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights(folder: Path, allow_pickle: bool) -> tuple[str, ...]:
    """In the order in which transformers looks for them."""
    for name in (_SAFE, _PICKLED):
        if name == _PICKLED and not allow_pickle:
            continue
        if (folder / name).is_file():
            return (name,)
        if (folder / (name + _INDEX)).is_file():
            return (name + _INDEX, *_shards(folder, name + _INDEX))
    if any((folder / name).is_file() for name in (_PICKLED, _PICKLED + _INDEX)):
        raise CheckpointError(
            f"{folder} has its weights only as {_PICKLED}, a pickle: loading one can run any code"
            f" that is in it. Convert it to {_SAFE}, or, if you trust who made it, permit it by the"
            " setting checkpoints_allow_pickle."
        )
    raise CheckpointError(f"{folder} lacks its weights, {_SAFE}: it is half of a checkpoint.")


def _shards(folder: Path, index: str) -> tuple[str, ...]:
    """The files that an index names, without those that it repeats."""
    path = folder / index
    if path.stat().st_size > LARGEST_INDEX:
        raise CheckpointError(f"{path} is larger than {LARGEST_INDEX} bytes: no index of shards.")
    try:
        named = {str(name) for name in json.loads(path.read_bytes())["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: it names no files. Fetch it again.") from error
    for name in sorted(named):
        if Path(name).name != name:
            raise CheckpointError(f"{path} names {name!r}, a file outside of its folder.")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} lacks {name}, which {index} names: fetch it again.")
    return tuple(sorted(named))

"""Reading a file that torch saved, without torch.

Importing torch takes 3 s and 500 MB, which a process that computes by ONNX Runtime need not pay.
Only the format before torch 1.6, which the packaged weights have: a magic number, a version, facts
about the machine, the pickled names with their tensors' places, the list of storages, and then each
storage: its length and its numbers. A pickle can name any function to be called; here only those
of tensors are known, and everything else is refused.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LENGTH: Final = np.dtype("<i8")


_DAMAGES: Final = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
)
"""What reading bytes that are something else can raise."""


class TorchFileError(RuntimeError):
    """Not a file of tensors in the format that is read here."""


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """Of a tensor in its storage, in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def end(self) -> int:
        """Behind the last of its numbers."""
        steps = zip(self.shape, self.strides, strict=True)
        return self.offset + sum((side - 1) * stride for side, stride in steps) + 1


def read(path: Path) -> Mapping[str, NDArray[Any]]:
    """The tensors by name, in the order of the file. Raises TorchFileError."""
    with path.open("rb") as file:
        try:
            if _unpickled(file) != _MAGIC:
                raise TorchFileError(f"{path.name} is no file of torch, or a newer one")
            _version, _machine = _unpickled(file), _unpickled(file)
            places, keys = _unpickled(file), _unpickled(file)
            types = {place.storage.key: place.storage.dtype for place in places.values()}
            storages = {key: _storage(file, types[key]) for key in keys}
        except _DAMAGES as error:
            raise TorchFileError(f"{path.name} is damaged: {error}") from error
    return {name: _tensor(place, storages, path) for name, place in places.items()}


def _unpickled(file: IO[bytes]) -> Any:
    return _Unpickler(file).load()


def _storage(file: IO[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
    (length,) = np.frombuffer(file.read(_LENGTH.itemsize), _LENGTH)
    return np.frombuffer(file.read(int(length) * dtype.itemsize), dtype)


def _tensor(place: _Place, storages: Mapping[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    numbers = storages[place.storage.key]
    if min(place.offset, *place.shape, *place.strides, 0) < 0 or place.end > numbers.size:
        raise TorchFileError(f"{path.name} is damaged: a tensor lies outside of its storage")
    steps = [stride * numbers.itemsize for stride in place.strides]
    seen = np.lib.stride_tricks.as_strided(numbers[place.offset :], place.shape, steps)
    return np.ascontiguousarray(seen)


def _place(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Place:
    return _Place(storage, offset, shape, strides)


_KNOWN: Final[Mapping[tuple[str, str], Callable[..., Any] | np.dtype[Any]]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _place,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None

    def persistent_load(self, pid: Any) -> _Storage:
        _kind, dtype, key, _device, _length, _view = pid
        return _Storage(key, dtype)

"""Reading torch's older files without torch."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones import weights
from backbones.torch_file import TorchFileError, read


def _save(value: object, path: Path) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return path


def test_every_packaged_tensor_is_what_torch_reads() -> None:
    expected = torch.load(weights.weight_file(), map_location="cpu", weights_only=True)
    found = read(weights.weight_file())
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())
        assert found[name].dtype == tensor.numpy().dtype


def test_views_and_turned_tensors_are_read_as_they_were_seen(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {"turned": whole.permute(2, 0, 1), "part": whole[1, 1:], "none": torch.tensor(7)}
    found = read(_save(OrderedDict(tensors), tmp_path / "views.pth"))
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_calls_anything_else_is_refused_and_not_run(tmp_path: Path) -> None:
    path = _save(OrderedDict(a=_Evil(tmp_path / "ran")), tmp_path / "evil.pth")
    with pytest.raises(TorchFileError, match=r"it names posix\.mkdir"):
        read(path)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_ends_too_early_is_damaged(tmp_path: Path) -> None:
    path = _save(OrderedDict(a=torch.zeros(100)), tmp_path / "short.pth")
    whole = path.read_bytes()
    for size in (len(whole) - 4, len(whole) - 1, len(whole) - 403, len(whole) - 450, 40, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(TorchFileError, match=r"short\.pth"):
            read(path)


@pytest.mark.parametrize("content", [pickle.dumps(1), b"PK\x03\x04 zip", pickle.dumps([])])
def test_another_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(TorchFileError, match=r"other\.pth is"):
        read(path)

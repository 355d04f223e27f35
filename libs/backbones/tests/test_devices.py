"""Where networks run: what of CUDA can be told without one."""

import sys
import warnings
from typing import Any, cast

import pytest
import torch

from backbones import cuda, devices

CUDA = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def forgotten() -> None:
    cuda.available.cache_clear()


def test_without_the_driver_there_is_no_cuda_and_torch_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cuda, "_DRIVER", "libnothing-of-that-name.so.1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked"))
    assert not cuda.available()


@pytest.mark.parametrize("told", [True, False])
def test_with_the_driver_torch_tells(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    monkeypatch.setattr(cuda, "_DRIVER", "libc.so.6")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: told)
    assert cuda.available() is told
    cuda.available.cache_clear()


def test_without_torch_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_DRIVER", "libc.so.6")
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    assert not cuda.available()
    cuda.available.cache_clear()


@pytest.mark.parametrize(
    ("setting", "there", "meant"),
    [("auto", True, True), ("auto", False, False), ("cpu", True, False), ("cuda:1", False, True)],
)
def test_a_setting_means_cuda_or_not(
    monkeypatch: pytest.MonkeyPatch, setting: str, there: bool, meant: bool
) -> None:
    monkeypatch.setattr(cuda, "available", _Cached(there))
    assert cuda.meant(setting) is meant
    expected = "cuda" if setting == "auto" and there else setting.replace("auto", "cpu")
    assert devices.chosen(setting) == torch.device(expected)


class _Cached:
    def __init__(self, there: bool) -> None:
        self.there = there

    def __call__(self) -> bool:
        return self.there

    def cache_clear(self) -> None:
        """As that of functools.cache."""


class _Tensor:
    """Writes down what is done with it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def pin_memory(self) -> "_Tensor":
        self.done.append("pinned")
        return self

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "_Tensor":
        self.done.append((device, non_blocking))
        return self


def test_what_goes_to_cuda_goes_through_pinned_memory_without_waiting() -> None:
    tensor = _Tensor()
    devices.moved(cast(Any, tensor), CUDA)
    assert tensor.done == ["pinned", (CUDA, True)]


def test_on_a_cpu_nothing_is_copied() -> None:
    tensor = torch.zeros(3)
    assert devices.moved(tensor, torch.device("cpu")) is tensor


@pytest.mark.parametrize(("able", "half"), [(True, torch.bfloat16), (False, torch.float16)])
def test_cuda_computes_in_the_half_precision_that_it_has(
    monkeypatch: pytest.MonkeyPatch, able: bool, half: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: able)
    with warnings.catch_warnings(action="ignore"):  # that there is no CUDA
        context = devices.precision(CUDA)
    assert isinstance(context, torch.autocast)
    assert context.fast_dtype == half


def test_a_cpu_computes_in_full_precision() -> None:
    with devices.precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_threads_are_set_where_they_are_told() -> None:
    before = torch.get_num_threads()
    try:
        devices.ready("cpu", 1)
        assert torch.get_num_threads() == 1
        devices.ready("cpu", 0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)

"""The packaged network on real photographs, and against an independent implementation."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors
from PIL import Image

from backbones import (
    BackboneError,
    EfficientNetLite0,
    WeightsError,
    cuda,
    devices,
    imagenet_labels,
    preprocessing,
    weights,
)
from backbones.onnx_network import OnnxNetwork
from backbones.torch_network import TorchNetwork


def _photo(name: str) -> Image.Image:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Image.open(Path(spec.submodule_search_locations[0]) / "data" / name).convert("RGB")


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max())
    result: NDArray[np.float32] = powers / powers.sum()
    return result


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite0:
    return EfficientNetLite0("cpu")


def test_a_cup_of_coffee_is_an_espresso(backbone: EfficientNetLite0) -> None:
    (logits,) = backbone.logits([_photo("coffee.png")])
    probabilities = _probabilities(logits)
    assert imagenet_labels()[int(probabilities.argmax())] == "espresso"
    assert float(probabilities.max()) == pytest.approx(0.95, abs=0.03)


def test_chelsea_is_a_cat(backbone: EfficientNetLite0) -> None:
    (logits,) = backbone.logits([_photo("chelsea.png")])
    best = np.argsort(-logits)[:3]
    assert {imagenet_labels()[i] for i in best} == {"tiger cat", "Egyptian cat", "tabby cat"}


def test_both_runtimes_compute_what_timm_computes(backbone: EfficientNetLite0) -> None:
    import timm

    reference: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    stored = torch.load(weights.weight_file(), map_location="cpu", weights_only=True)
    named = dict(zip(reference.state_dict(), stored.values(), strict=True))
    reference.load_state_dict(named)
    batch = preprocessing.to_batch([_photo("chelsea.png"), _photo("coffee.png")])
    with torch.inference_mode():
        expected = reference(torch.from_numpy(batch)).numpy()
        features = reference.forward_head(reference.forward_features(torch.from_numpy(batch)), True)
    network = TorchNetwork(weights.load(weights.weight_file()), torch.device("cpu"))
    for got, logits in (network(batch), OnnxNetwork(weights.load(weights.weight_file()), 1)(batch)):
        np.testing.assert_allclose(logits, expected, atol=1e-3)
        np.testing.assert_allclose(got, features.numpy(), atol=1e-4)


def test_one_pass_gives_features_and_logits(backbone: EfficientNetLite0) -> None:
    photos = [_photo("chelsea.png"), _photo("coffee.png")]
    output = backbone(photos)
    assert output.features.shape == (2, 1280)
    assert output.logits.shape == (2, 1000)
    assert output.features.dtype == output.logits.dtype == np.float32
    np.testing.assert_array_equal(output.features, backbone.features(photos))


def test_a_photo_gives_the_same_alone_as_among_others(backbone: EfficientNetLite0) -> None:
    photos = [_photo("chelsea.png"), _photo("coffee.png"), _photo("camera.png")]
    together = backbone(photos)
    for index, photo in enumerate(photos):
        alone = backbone([photo])
        np.testing.assert_allclose(alone.features[0], together.features[index], atol=1e-4)
        np.testing.assert_allclose(alone.logits[0], together.logits[index], atol=1e-3)


def test_the_same_photo_gives_the_same_numbers_each_time(backbone: EfficientNetLite0) -> None:
    photo = _photo("coffee.png")
    np.testing.assert_array_equal(backbone.features([photo]), backbone.features([photo]))


def test_no_photos_give_no_rows(backbone: EfficientNetLite0) -> None:
    output = backbone([])
    assert output.features.shape == (0, 1280)
    assert output.logits.shape == (0, 1000)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 5000), (5000, 1), (3, 224)])
def test_every_shape_gives_finite_numbers(
    backbone: EfficientNetLite0, size: tuple[int, int]
) -> None:
    output = backbone([Image.new("RGB", size, "orange")])
    assert np.isfinite(output.features).all()
    assert np.isfinite(output.logits).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_modes_are_made_rgb(backbone: EfficientNetLite0, mode: str) -> None:
    photo = _photo("coffee.png").convert(mode)
    np.testing.assert_allclose(
        backbone.features([photo]), backbone.features([photo.convert("RGB")]), atol=1e-5
    )


def test_a_large_flat_picture_looks_like_a_small_one(backbone: EfficientNetLite0) -> None:
    small, large = (Image.new("RGB", size, "teal") for size in ((224, 224), (2048, 1536)))
    np.testing.assert_allclose(backbone.features([small]), backbone.features([large]), atol=1e-4)


def test_the_version_names_the_weight_file(backbone: EfficientNetLite0) -> None:
    assert backbone.model_version == "efficientnet-lite0@579344248a93"
    assert backbone.device == "cpu"


def test_auto_takes_the_cpu_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "available", lambda: False)
    assert EfficientNetLite0("auto").device == "cpu"
    assert EfficientNetLite0("auto").features([Image.new("RGB", (8, 8))]).shape == (1, 1280)


def test_torch_computes_it_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as a machine without CUDA goes: the network is made, for the device that is meant."""
    asked: list[torch.device] = []
    monkeypatch.setattr(TorchNetwork, "__init__", lambda self, _, device: asked.append(device))
    monkeypatch.setattr(cuda, "available", lambda: True)
    EfficientNetLite0("auto")
    EfficientNetLite0("cuda:1")
    assert asked == [torch.device("cuda"), torch.device("cuda:1")]


def test_a_process_that_computes_on_a_cpu_does_without_torch() -> None:
    program = """
import sys
from PIL import Image
from backbones import EfficientNetLite0
EfficientNetLite0("cpu", 1).warm_up()
sys.exit(bool({"torch", "transformers", "torchvision"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_batch_larger_than_one_pass_gives_each_its_own(backbone: EfficientNetLite0) -> None:
    colors = [Image.new("RGB", (9, 9), (at * 10, 0, 250 - at * 10)) for at in range(18)]
    output = backbone(colors)
    assert output.logits.shape == (18, 1000)
    for at in (0, 15, 16, 17):
        np.testing.assert_allclose(backbone([colors[at]]).logits[0], output.logits[at], atol=1e-3)


def _saved(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    return path


def _stored() -> dict[str, torch.Tensor]:
    return dict(torch.load(weights.weight_file(), map_location="cpu", weights_only=True))


def test_a_file_with_missing_tensors_is_refused(tmp_path: Path) -> None:
    path = _saved(dict(list(_stored().items())[:-1]), tmp_path / "short.pth")
    with pytest.raises(WeightsError, match="295 tensors instead of 296"):
        weights.load(path)


def test_a_file_with_a_tensor_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = _saved({**_stored(), "_fc.bias": torch.zeros(10)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"shape \(10,\), not \(1000,\)"):
        weights.load(path)


@pytest.mark.parametrize(
    ("said", "threads"), [("3", 3), ("2,1", 2), ("", 0), ("many", 0), (None, 0)]
)
def test_the_threads_that_are_left_open_are_openmps(
    monkeypatch: pytest.MonkeyPatch, said: str | None, threads: int
) -> None:
    made: list[int] = []

    class Session:
        def __init__(
            self, _: bytes, options: onnxruntime.SessionOptions, providers: list[str]
        ) -> None:
            made.append(options.intra_op_num_threads)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    packaged = weights.load(weights.weight_file())
    OnnxNetwork(packaged, 0)
    OnnxNetwork(packaged, 7)
    assert made == [threads, 7]


def _failing(error: Exception) -> object:
    class Session:
        def run(self, *_: object) -> None:
            raise error

    return Session()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Failed to allocate memory for requested buffer of size 1", MemoryError),
        ("std::bad_alloc", MemoryError),
        ("Non-zero status code returned while running Conv node", BackboneError),
    ],
)
def test_what_onnx_runtime_raises_becomes_two_kinds(
    monkeypatch: pytest.MonkeyPatch, said: str, expected: type[Exception]
) -> None:
    network = OnnxNetwork(weights.load(weights.weight_file()), 1)
    monkeypatch.setattr(network, "_session", _failing(onnx_errors.RuntimeException(said)))
    with pytest.raises(expected, match=r".+"):
        network(np.zeros((1, 3, 224, 224), np.float32))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), MemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError),
        (RuntimeError("CUDA error: an illegal memory access"), BackboneError),
        (ValueError("Unable to infer the channel dimension"), BackboneError),
    ],
)
def test_what_torch_raises_becomes_two_kinds(raised: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected, match=r".+"), devices.torch_errors():
        raise raised

"""What is wrong with a checkpoint is said before a photo is looked at."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_checkpoints
from backbones import CheckpointError, Policy, find, pretrained
from backbones.siglip import Siglip

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_checkpoints.siglip2_of_a_fixed_resolution(tmp_path / "tiny")


def _load(folder: Path, policy: Policy | None = None) -> Siglip:
    return Siglip.load(find(str(folder), policy or Policy()), CPU)


def test_half_a_file_of_weights_is_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"tiny/model\.safetensors is damaged or incomplete"):
        _load(folder)


def test_weights_that_are_missing_are_not_replaced_by_chance(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["vision_model.head.layernorm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"lack 1 tensors, such as vision_model\.head\.layernorm\.weight"
    ):
        _load(folder)


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["intermediate_size"] = 48
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="can't be loaded as AutoModel"):
        _load(folder)


@pytest.mark.parametrize(
    ("name", "purpose"),
    [
        ("preprocessor_config.json", "for its preprocessing of pictures"),
        ("tokenizer.json", "for its tokenizer"),
    ],
)
def test_a_missing_part_is_said_to_be_missing(folder: Path, name: str, purpose: str) -> None:
    (folder / name).unlink()
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=f"The checkpoint tiny in .* {purpose}"):
        _load(folder)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model_type": "unheard-of"}'])
def test_a_configuration_that_says_nothing_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="can't be loaded as AutoModel"):
        _load(folder)


def test_code_in_a_checkpoint_is_not_run(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "c.C", "AutoModel": "m.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("c.py", "m.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(CheckpointError):
        _load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_is_allowed_gives_the_same_vectors(folder: Path) -> None:
    before = _load(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="run any code"):
        _load(folder)
    after = _load(folder, Policy(allow_pickle=True))
    photo = [tiny_checkpoints.photograph()]
    assert (before.images(photo) == after.images(photo)).all()
    assert before.version != after.version


def test_weights_stored_in_half_precision_are_computed_in_full(folder: Path) -> None:
    halves = {name: it.half() for name, it in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    network = pretrained.network(find(str(folder)), "AutoModel", CPU)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in network.parameters())

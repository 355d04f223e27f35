"""Which engine the settings mean."""

import json
from pathlib import Path

import huggingface_hub.constants
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

import tiny_checkpoints
import tiny_detectors
from backbones import Policy, cuda, find, offline
from detector.app import loaded
from detector.calibration import Calibration
from detector.engines import load, load_labeller
from detector.engines.choice import ENGINES
from detector.settings import Settings
from streamkit import EngineLoadError, UnknownEngineError
from tiny_checkpoints import photograph

CPU = ("--detector-device=cpu", "--detector-label-list=cat,dog,car")


def _settings(*flags: str) -> Settings:
    return Settings.from_command_line("detector", [*CPU, *flags])


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is cached, and whoever asks a hub fails."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: pytest.fail("asked"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made")
    for make in (tiny_checkpoints.siglip, tiny_detectors.detr, tiny_checkpoints.blip):
        make(made / make.__name__)
    tiny_checkpoints.owlv2(made / "owlv2")
    return made


def _why(*flags: str) -> tuple[str, str]:
    """The engine's name, and what is logged as the reason."""
    with capture_logs() as logs:
        engine = load(_settings(*flags))
    (line,) = [log for log in logs if log["event"] == "engine"]
    assert line["engine"] == engine.name
    return engine.name, line["why"]


def test_the_engines_are_known_by_name() -> None:
    assert set(ENGINES) == {"efficientnet-lite0", "siglip"}


def test_auto_takes_the_packaged_weights_and_says_why() -> None:
    name, why = _why()
    assert name == "efficientnet-lite0"
    assert why == (
        "its weights come with the installation; there is no CUDA, and no checkpoint is named"
    )


def test_auto_takes_the_checkpoint_that_is_named_and_loads(made: Path) -> None:
    name, why = _why(f"--detector-checkpoint={made / 'siglip'}")
    assert name == "siglip"
    assert why == f"{made / 'siglip'} loads: the setting names it"


def test_auto_goes_back_to_the_packaged_weights_and_says_what_is_wrong(made: Path) -> None:
    name, why = _why(f"--detector-checkpoint={made / 'detr'}")
    assert name == "efficientnet-lite0"
    assert "kind 'detr', not SigLIP" in why


def test_auto_does_not_wait_for_a_hub() -> None:
    name, why = _why(f"--detector-checkpoint=owner/siglip@{'0' * 40}")
    assert name == "efficientnet-lite0"
    assert "is not on this machine" in why


def test_auto_takes_the_default_on_cuda_if_it_was_fetched_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cuda, "meant", lambda _: True)
    nothing, why = offline.siglip("", "auto", Policy(), lambda checkpoint: checkpoint)
    assert nothing is None
    assert "can't be had offline" in why
    cached = tmp_path / "cache" / "models--google--siglip2-base-patch16-224"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("1" * 40)
    tiny_checkpoints.siglip2_of_a_fixed_resolution(cached / "snapshots" / ("1" * 40))
    found, why = offline.siglip("", "auto", Policy(), lambda checkpoint: checkpoint)
    assert found is not None
    assert found.name == "siglip2-base-patch16-224"
    assert why.endswith("loads: there is CUDA, and it lies in the hub's cache")


def test_an_engine_of_all_skills_answers_with_all(made: Path) -> None:
    engine = load(
        _settings(
            "--detector-engine=siglip",
            f"--detector-checkpoint={made / 'siglip'}",
            f"--detector-boxes={made / 'detr'}",
            "--detector-boxes-threshold=0",
            "--detector-boxes-most=3",
            f"--detector-caption={made / 'blip'}",
        )
    )
    assert engine.name == "siglip+detr+blip"
    assert [it.partition("@")[0] for it in engine.model_version.split("+")] == [
        "siglip",
        "detr",
        "blip",
        "options",
    ]
    (found,) = engine.detect([photograph()])
    assert {label.name for label in found.labels} == {"cat", "dog", "car", "none of these"}
    assert len(found.objects) == 3


def test_what_boxes_are_asked_for_is_in_the_list_of_labels(made: Path) -> None:
    engine = load(
        _settings(
            f"--detector-boxes={made / 'owlv2'}",
            "--detector-boxes-threshold=0",
            "--detector-engine=efficientnet-lite0",
        )
    )
    (found,) = engine.detect([photograph()])
    assert engine.name == "efficientnet-lite0+owlv2"
    assert found.objects
    assert {thing.name for thing in found.objects} <= {"cat", "dog", "car"}


def _version(*flags: str) -> str:
    return load(_settings(*flags)).model_version


def test_the_version_of_an_engine_as_it_is_by_default_names_its_weights_alone(made: Path) -> None:
    siglip = ("--detector-label-list=", f"--detector-checkpoint={made / 'siglip'}")
    labeller = load_labeller(_settings(*siglip)).model_version
    boxes = find(str(made / "owlv2")).version
    assert _version() == "efficientnet-lite0@579344248a93"
    assert _version(*siglip) == labeller
    assert _version(*siglip, f"--detector-boxes={made / 'owlv2'}") == f"{labeller}+{boxes}"


@pytest.mark.parametrize(
    ("boxes", "one", "other"),
    [
        ("owlv2", "--detector-label-list=cat,dog", "--detector-label-list=cat,car"),
        ("owlv2", "--detector-label-list=cat,dog", "--detector-label-list="),
        ("owlv2", "--detector-boxes-threshold=0.1", "--detector-boxes-threshold=0.3"),
        ("detr", "--detector-boxes-threshold=0.1", "--detector-boxes-threshold=0.2"),
        ("detr", "--detector-boxes-most=3", "--detector-boxes-most=4"),
        ("", "--detector-labels=3", "--detector-labels=5"),
    ],
)
def test_engines_that_differ_in_one_option_have_different_versions(
    made: Path, boxes: str, one: str, other: str
) -> None:
    both = [f"--detector-boxes={made / boxes}"] if boxes else []
    assert _version(*both, one) == _version(*both, one) != _version(*both, other)


@pytest.mark.parametrize(
    "said", ["--detector-boxes-threshold=0.1", "--detector-boxes-most=3", "--detector-prompts=[]"]
)
def test_what_no_skill_heeds_is_not_in_the_version(said: str) -> None:
    said = said.replace("[]", '["only {}"]')
    assert _version("--detector-label-list=cat", said) == _version("--detector-label-list=dog")


def test_prompts_and_categories_of_labels_are_in_the_version_of_siglip(
    made: Path, tmp_path: Path
) -> None:
    siglip = ("--detector-label-list=", f"--detector-checkpoint={made / 'siglip'}")
    versions = {_version(*siglip, '--detector-prompts=["only {}"]')}
    labellers = set()
    for at, text in enumerate(("cat\tpet\ndog\n", "cat\tpet\ndog\tpet\n")):
        file = tmp_path / f"{at}.tsv"
        file.write_text(text)
        flags = (*siglip, f"--detector-labels-file={file}")
        versions.add(_version(*flags))
        labellers.add(load_labeller(_settings(*flags)).model_version)
    assert len(versions) == 3
    assert len(labellers) == 1, "a calibration is for labels, whatever their categories"


def test_boxes_are_looked_for_in_more_pixels_than_labels(made: Path) -> None:
    boxes = _settings(f"--detector-boxes={made / 'detr'}")
    assert loaded(_settings()).enough_pixels == 512
    assert loaded(boxes).enough_pixels == 1024


def test_a_calibration_is_used_for_the_weights_it_was_fitted_for(tmp_path: Path) -> None:
    version = load_labeller(_settings()).model_version
    file = tmp_path / "calibration.json"
    file.write_text(Calibration(temperature=2.0, n=300, model_version=version).to_json())
    (found,) = load(_settings(f"--detector-calibration={file}")).detect([photograph()])
    assert found.calibrated


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--detector-engine=siglip"], r"siglip needs weights.*detector_checkpoint"),
        (["--detector-engine=siglip", "--detector-checkpoint=/no/folder"], "There is no folder"),
        (["--detector-boxes=a/b"], "40 hex digits"),
        (["--detector-caption=/no/folder"], "There is no folder"),
        (["--detector-labels-file=x.txt", "--detector-boxes={made}/owlv2"], "not by both"),
        (["--detector-calibration=/no/file"], "can't be read"),
        (
            ["--detector-calibration=" + json.dumps({"n": 300, "model_version": "other@1"})],
            "was fitted for other@1",
        ),
    ],
)
def test_what_the_settings_name_wrongly_is_a_sentence(
    made: Path, flags: list[str], said: str
) -> None:
    with pytest.raises(EngineLoadError, match=said):
        load(_settings(*(flag.format(made=made) if "{made}" in flag else flag for flag in flags)))


def test_a_labeller_can_be_had_alone(made: Path) -> None:
    labeller = load_labeller(
        _settings("--detector-engine=siglip", f"--detector-checkpoint={made / 'siglip'}")
    )
    assert (labeller.labels, labeller.none_logit) == (("cat", "dog", "car"), 0.0)
    assert load_labeller(_settings("--detector-engine=efficientnet-lite0")).none_logit is None


def test_an_engine_of_ones_own_has_no_logits_to_see() -> None:
    with pytest.raises(UnknownEngineError, match="gives no logits; choose efficientnet-lite0"):
        load_labeller(_settings("--detector-engine=package.module:factory"))


@pytest.mark.parametrize("prompts", ['["a photo"]', "[]", '["' + "{}" * 101 + '"]'])
def test_prompts_without_a_place_for_the_label_are_refused(prompts: str) -> None:
    with pytest.raises(ValidationError, match="detector_prompts"):
        _settings(f"--detector-prompts={prompts}")

"""The packaged model, calibrated by the command on a labelled folder, and then used with it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import sample_crops
from detector.calibrate import DOUBTFUL
from detector.calibration import NONE_OF_THESE, Calibration, calibration_of
from detector.engines import DetectorEngine, load
from detector.settings import Settings
from streamkit import EngineLoadError

ENGINE = "--detector-engine=efficientnet-lite0"
CPU = "--detector-device=cpu"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two crops of each photograph."""
    made = tmp_path_factory.mktemp("crops")
    sample_crops.write(made, crops=2)
    return made


@pytest.fixture(scope="module")
def fitted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes."""
    file = tmp_path_factory.mktemp("fitted") / "calibration.json"
    words = [sys.executable, "-m", "detector.calibrate", str(folder), "--json", str(file)]
    done = subprocess.run(
        [*words, ENGINE, CPU], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == DOUBTFUL, done.stderr
    assert "n = 12: 24 photos are in 12 groups" in done.stdout
    assert "verdict      uncalibrated: needs 188 more photos (200 in all)" in done.stdout
    assert "24 of 24 photos" in done.stderr
    return file


def engine(*flags: str) -> DetectorEngine:
    return load(Settings.from_command_line("detector", [ENGINE, CPU, *flags]))


def test_the_command_writes_what_the_engine_then_uses(folder: Path, fitted: Path) -> None:
    calibration = calibration_of(str(fitted))
    assert calibration.model_version.startswith("efficientnet-lite0@")
    assert calibration.none_logit is not None
    picture = Image.open(next((folder / "none").rglob("*.jpg"))).convert("RGB")
    (plain,) = engine().detect([picture])
    (found,) = engine(f"--detector-calibration={fitted}").detect([picture])
    assert NONE_OF_THESE not in [label.name for label in plain.labels]
    assert NONE_OF_THESE in [label.name for label in found.labels]
    assert (plain.calibrated, found.calibrated) == (False, False)


def test_a_calibration_on_enough_photos_makes_the_confidences_calibrated(fitted: Path) -> None:
    enough = replace(calibration_of(str(fitted)), n=200)
    calibrated = engine(f"--detector-calibration={enough.to_json()}")
    (found,) = calibrated.detect([Image.new("RGB", (9, 9))])
    assert found.calibrated


def test_a_calibration_of_other_weights_is_refused_with_the_cure() -> None:
    foreign = Calibration(n=200, model_version="other@1").to_json()
    with pytest.raises(EngineLoadError, match=r"fitted for other@1.*detector\.calibrate"):
        engine(f"--detector-calibration={foreign}")

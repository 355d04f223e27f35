"""A calibration: what it makes of logits, and what it refuses to be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detector.calibration import (
    ENOUGH,
    UNCALIBRATED,
    Calibration,
    CalibrationError,
    calibration_of,
)

LABELS = ("cat", "dog", "cup")
FITTED = Calibration(
    temperature=1.7,
    per_label={"cat": 2.1},
    none_logit=-3.5,
    n=240,
    source="folder photos",
    fitted_at="2026-11-29T10:00:00+00:00",
    model_version="net@1",
    ece_before=0.09,
    ece_after=0.02,
)

temperatures = st.floats(0.05, 20)
logits = arrays(np.float32, (4, 3), elements=st.floats(-60, 60, width=32))
weights = st.none() | st.floats(-50, 50)
calibrations = st.builds(
    Calibration,
    temperature=temperatures,
    per_label=st.dictionaries(st.sampled_from(LABELS), temperatures),
    none_logit=weights,
)


@given(logits, calibrations, weights)
def test_the_probabilities_of_all_answers_sum_to_one(
    rows: np.ndarray, calibration: Calibration, own: float | None
) -> None:
    labels, none = calibration.probabilities(rows, LABELS, own)
    np.testing.assert_allclose(labels.sum(axis=1) + none, 1, atol=1e-12)
    assert (labels >= 0).all()
    assert (none >= 0).all()


@given(logits, calibrations, weights)
def test_no_temperature_changes_which_label_is_best_nor_the_order_of_the_others(
    rows: np.ndarray, calibration: Calibration, own: float | None
) -> None:
    labels, _ = calibration.probabilities(rows, LABELS, own)
    for row, found in zip(rows, labels, strict=True):
        assert found[row.argmax()] >= found.max() - 1e-12
        assert (np.diff(found[np.argsort(row, kind="stable")]) >= -1e-12).all()


@given(logits, calibrations, st.floats(-50, 50))
def test_no_temperature_changes_whether_none_of_these_is_best(
    rows: np.ndarray, calibration: Calibration, weight: float
) -> None:
    calibration = replace(calibration, none_logit=weight)
    labels, none = calibration.probabilities(rows, LABELS, None)
    lead = none - labels.max(axis=1)
    wins = rows.astype(np.float64).max(axis=1) < weight
    assert (lead[wins] >= -1e-12).all()
    assert (lead[~wins] <= 1e-12).all()


def test_probabilities_are_the_softmax_of_logits_over_temperature() -> None:
    rows = np.array([[2.0, 0.0, -2.0]], np.float32)
    labels, none = Calibration(temperature=2).probabilities(rows, LABELS, None)
    powers = np.exp([1.0, 0.0, -1.0])
    np.testing.assert_allclose(labels, [powers / powers.sum()])
    assert none.tolist() == [0.0]


def test_none_of_these_is_one_logit_more_under_the_same_temperature() -> None:
    rows = np.array([[2.0, 0.0, -2.0]], np.float32)
    labels, none = Calibration(temperature=2, none_logit=4).probabilities(rows, LABELS, -9.0)
    powers = np.exp([1.0, 0.0, -1.0, 2.0])
    np.testing.assert_allclose([*labels[0], none[0]], powers / powers.sum())


def test_without_a_fitted_weight_the_labellers_own_counts() -> None:
    rows = np.zeros((1, 3), np.float32)
    _, none = UNCALIBRATED.probabilities(rows, LABELS, 0.0)
    assert none[0] == pytest.approx(0.25)


def test_a_label_with_a_temperature_of_its_own_has_it_where_it_is_best() -> None:
    rows = np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]], np.float32)
    calibration = Calibration(temperature=1, per_label={"dog": 4})
    labels, _ = calibration.probabilities(rows, LABELS, None)
    plain, _ = UNCALIBRATED.probabilities(rows, LABELS, None)
    np.testing.assert_allclose(labels[0], plain[0])
    assert labels[1, 1] == pytest.approx(np.e / (np.e + 2))


def test_no_photos_have_no_probabilities() -> None:
    labels, none = FITTED.probabilities(np.empty((0, 3), np.float32), LABELS, None)
    assert (labels.shape, none.shape) == ((0, 3), (0,))


@pytest.mark.parametrize(("n", "calibrated"), [(0, False), (ENOUGH - 1, False), (ENOUGH, True)])
def test_two_hundred_photos_make_it_calibrated(n: int, calibrated: bool) -> None:
    assert replace(FITTED, n=n).calibrated is calibrated


def test_it_survives_its_json() -> None:
    assert Calibration.from_json(FITTED.to_json()) == FITTED


def test_a_setting_is_nothing_its_json_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(FITTED.to_json(), encoding="utf-8")
    assert calibration_of("") == UNCALIBRATED
    assert calibration_of(FITTED.to_json()) == FITTED
    assert calibration_of(str(file)) == FITTED


def test_a_file_that_is_not_there_is_named_with_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"gone\.json can't be read.*detector\.calibrate"):
        calibration_of(str(tmp_path / "gone.json"))


def test_a_file_of_anything_else_is_named(tmp_path: Path) -> None:
    file = tmp_path / "photo.json"
    file.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(CalibrationError, match=r"photo\.json"):
        calibration_of(str(file))


def test_a_file_that_never_ends_is_not_read_to_its_end() -> None:
    with pytest.raises(CalibrationError, match="larger than"):
        calibration_of("/dev/zero")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": "hot"}, "temperature can't be 'hot'"),
        ({"temperature": True}, "temperature can't be True"),
        ({"per_label": {"cat": -1}}, "cat is -1"),
        ({"temperature": 0, "per_label": {"temperature": 2}}, "temperature is 0"),
        ({"per_label": {"cat": "hot"}}, "cat is 'hot'"),
        ({"per_label": []}, "per_label can't be"),
        ({"none_logit": float("inf")}, "none_logit is inf"),
        ({"n": -1}, "n is -1"),
        ({"n": 2.5}, r"n can't be 2\.5"),
        ({"ece_after": 3}, "ece_after is 3"),
        ({"model_version": ""}, "does not say for which model_version"),
        ({"temprature": 2}, "field 'temprature' that is not known"),
    ],
)
def test_values_that_no_fit_makes_are_refused(changes: dict[str, object], complaint: str) -> None:
    said = json.loads(FITTED.to_json()) | changes
    with pytest.raises(CalibrationError, match=complaint):
        Calibration.from_json(json.dumps(said))


@pytest.mark.parametrize("text", ["{", "[1]", '"{}"', "", "{" * 100_000, '{"a":' * 100_000])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(CalibrationError, match="JSON"):
        Calibration.from_json(text)


def test_a_calibration_of_other_weights_is_refused_with_the_cure() -> None:
    assert FITTED.for_model("net@1") is FITTED
    with pytest.raises(CalibrationError, match=r"fitted for net@1, but net@2 is loaded.*calibrate"):
        FITTED.for_model("net@2")


def test_no_calibration_suits_every_model() -> None:
    assert UNCALIBRATED.for_model("net@2") is UNCALIBRATED


def test_a_calibration_is_for_weights_wherever_their_folder_lies() -> None:
    fitted = Calibration(temperature=2.0, n=300, model_version="here@0123")
    assert fitted.for_model("elsewhere@0123") is fitted
    with pytest.raises(CalibrationError, match="fitted for here@0123, but here@4567 is loaded"):
        fitted.for_model("here@4567")


def test_what_a_calibration_does_is_a_part_of_the_version() -> None:
    one, other = (Calibration(temperature=t, n=300, model_version="m@1") for t in (2.0, 3.0))
    assert UNCALIBRATED.version == ""
    assert one.version.startswith("calibration@")
    assert one.version != other.version
    assert one.version == Calibration.from_json(one.to_json()).version
    assert Calibration(temperature=2.0).version != "", "nobody fitted it, and yet it is used"

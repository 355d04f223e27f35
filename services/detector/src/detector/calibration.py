"""Confidences that mean what they say: logits to probabilities, by what was fitted on labels.

Pure numpy. How a Calibration is fitted stands in `calibration_fit`, why in docs/calibration.md.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

NONE_OF_THESE: Final = "none of these"
"""The answer that no label fits."""

ENOUGH: Final = 200
"""Labelled photos; confidences that were fitted on fewer count as uncalibrated."""

COLDEST: Final = 0.02
HOTTEST: Final = 50.0
"""Temperatures lie between these; a network that needs another is not worth listening to."""

LARGEST_LOGIT: Final = 1e4
"""Size of a weight of "none of these", in logits, that is still believed."""

_LONGEST: Final = 4 * 1024 * 1024
"""Bytes of a calibration: thousands of labels with their temperatures."""


class CalibrationError(ValueError):
    """A calibration that can't be read or is not for this model; says what to do."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a model's logits become probabilities. Fitted on `n` photos of `source`, each of which
    tells something of its own (photos of one group count as one).

    `temperature`: divides every logit (Guo et al. 2017, On Calibration of Modern Neural Networks,
    section 4.2). `per_label`: the temperature of photos whose best label this is, where it could
    be told from the global one. `none_logit`: what "none of these" weighs, in the model's logits;
    None: what the labeller says of itself. `model_version`: the weights that it was fitted for.
    `ece_before`, `ece_after`: expected calibration error on photos that were not fitted on.
    """

    temperature: float = 1.0
    per_label: Mapping[str, float] = field(default_factory=dict)
    none_logit: float | None = None
    n: int = 0
    source: str = ""
    fitted_at: str = ""
    model_version: str = ""
    ece_before: float | None = None
    ece_after: float | None = None

    @property
    def calibrated(self) -> bool:
        """Whether it rests on enough photos to be believed, and did not make things worse."""
        return self.n >= ENOUGH and not self.worse

    @property
    def worse(self) -> bool:
        """Whether confidences of other photos meant less after it than before."""
        if self.ece_before is None or self.ece_after is None:
            return False
        return self.ece_after > self.ece_before

    def for_model(self, model_version: str) -> Self:
        """Itself, if it was fitted for these weights and labels. Raises CalibrationError.

        One that was never fitted (`UNCALIBRATED`) suits every model. What stands before the @ does
        not count: the same files may lie in a folder of another name.
        """
        if self.n and _weights(self.model_version) != _weights(model_version):
            raise CalibrationError(
                f"The calibration was fitted for {self.model_version}, but {model_version} is"
                " loaded: fit it again with `python -m detector.calibrate`, or take the setting"
                " back."
            )
        return self

    def probabilities(
        self, logits: NDArray[np.float32], labels: Sequence[str], none_logit: float | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities of the labels (n, k) and of none of them (n,); each row sums to 1 with it.

        `logits` (n, k) are the model's, `labels` their k names. "None of these" is one logit more:
        the fitted one, else `none_logit` (the labeller's own), else it has probability 0. A row
        has one temperature, its best label's, and none of these is divided by it as well: which
        answer is best, and the order of all, is the same at every temperature.
        """
        none = none_logit if self.none_logit is None else self.none_logit
        values = logits.astype(np.float64)
        temperatures = self._temperatures([labels[at] for at in values.argmax(axis=1).tolist()])
        peak = values.max(axis=1)
        if none is not None:
            peak = np.maximum(peak, none)
        powers = np.exp((values - peak[:, None]) / temperatures[:, None])
        other = np.zeros(len(values)) if none is None else np.exp((none - peak) / temperatures)
        total = powers.sum(axis=1) + other
        return powers / total[:, None], other / total

    def _temperatures(self, best: Sequence[str]) -> NDArray[np.float64]:
        """Of photos with these best labels."""
        return np.array([self.per_label.get(label, self.temperature) for label in best], float)

    @property
    def version(self) -> str:
        """Names what it does to confidences; empty where it does nothing."""
        if self == UNCALIBRATED:
            return ""
        return f"calibration@{hashlib.sha256(self.to_json().encode()).hexdigest()[:8]}"

    def to_json(self) -> str:
        """Its text, on one line so that a setting can hold it; `from_json` reads it."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote. Raises CalibrationError."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CalibrationError(f"The calibration is no JSON: {error}.") from error
        if not isinstance(said, dict):
            raise CalibrationError("The calibration has to be a JSON object.")
        for name in sorted(said.keys() - _TYPES.keys()):
            raise CalibrationError(f"The calibration has a field '{name}' that is not known.")
        for name, value in said.items():
            if isinstance(value, bool) or not isinstance(value, _TYPES[name]):
                raise CalibrationError(f"The calibration's {name} can't be {value!r}.")
        found = cls(**said)
        found._check()
        return found

    def _check(self) -> None:
        """Raises CalibrationError for values that no fit makes."""
        for name, value in (("temperature", self.temperature), *self.per_label.items()):
            _within(name, value, COLDEST, HOTTEST)
        if self.none_logit is not None:
            _within("none_logit", self.none_logit, -LARGEST_LOGIT, LARGEST_LOGIT)
        for name in ("ece_before", "ece_after"):
            if getattr(self, name) is not None:
                _within(name, getattr(self, name), 0, 1)
        _within("n", self.n, 0, math.inf)
        if self.n and not self.model_version:
            raise CalibrationError("The calibration does not say for which model_version it is.")


_NUMBER: Final = int | float
_TYPES: Final[Mapping[str, type | UnionType]] = {
    "temperature": _NUMBER,
    "per_label": dict,
    "none_logit": _NUMBER | NoneType,
    "n": int,
    "source": str,
    "fitted_at": str,
    "model_version": str,
    "ece_before": _NUMBER | NoneType,
    "ece_after": _NUMBER | NoneType,
}


def _weights(model_version: str) -> str:
    """What of a version is made of its weights (and labels), not of where they lie."""
    return model_version.rpartition("@")[2]


UNCALIBRATED: Final = Calibration()
"""The model's own confidences: temperature 1, and never fitted."""


def _within(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not low <= value <= high:
        raise CalibrationError(
            f"The calibration's {name} is {value!r}; it has to lie between {low} and {high}."
        )


def calibration_of(setting: str) -> Calibration:
    """What a setting says: "" is UNCALIBRATED, text from "{" on is its JSON, else it is a file.

    Whoever has loaded the model asks `for_model` then. Raises CalibrationError.
    """
    if not setting:
        return UNCALIBRATED
    if setting.lstrip().startswith("{"):
        return Calibration.from_json(setting)
    path = Path(setting)
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise CalibrationError(
            f"The calibration {path} can't be read: {error.strerror}. It is what"
            " `python -m detector.calibrate` writes."
        ) from error
    if len(content) > _LONGEST:
        raise CalibrationError(f"The calibration {path} is larger than {_LONGEST} bytes.")
    try:
        return Calibration.from_json(content.decode())
    except ValueError as error:  # CalibrationError and UnicodeDecodeError
        raise CalibrationError(f"{path}: {error}") from error

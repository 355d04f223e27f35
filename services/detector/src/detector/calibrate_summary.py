"""What a person is told of a calibration that was fitted."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from detector.calibrate_look import Seen
from detector.calibration import ENOUGH, Calibration
from detector.calibration_measure import FOLDS, Measured

_LISTED: Final = 20
"""Labels, and photos that were left out, that are listed; of more the count is told."""


def verdict(calibration: Calibration) -> str:
    """Whether confidences will count as calibrated."""
    if calibration.calibrated:
        return "calibrated"
    if calibration.worse:
        return "uncalibrated: on photos that were left out, confidences meant less than before"
    return f"uncalibrated: needs {ENOUGH - calibration.n} more photos ({ENOUGH} in all)"


def summary(calibration: Calibration, measured: Measured, seen: Seen) -> str:
    """Plain text of a few lines; ends with the verdict."""
    return "\n".join(
        (
            *_photos(calibration, seen),
            *_labels(seen, calibration.per_label),
            *_temperature(calibration),
            *_errors(measured),
            f"verdict      {verdict(calibration)}",
        )
    )


def _photos(calibration: Calibration, seen: Seen) -> Iterator[str]:
    yield f"source       {calibration.source}"
    yield f"model        {calibration.model_version}"
    photos = len(seen.used)
    note = f": {photos} photos are in {calibration.n} groups" if calibration.n < photos else ""
    yield f"photos       n = {calibration.n}{note}"
    if seen.not_taken:
        yield f"             {seen.not_taken} more were not looked at: these are enough"
    for name, why in seen.left_out[:_LISTED]:
        yield f"left out     {name}: {why}"
    if len(seen.left_out) > _LISTED:
        yield f"             and {len(seen.left_out) - _LISTED} more"


def _labels(seen: Seen, own: Mapping[str, float]) -> Iterator[str]:
    counts = Counter(one.label for one in seen.used).most_common()
    width = max(len(label) for label, _ in counts[:_LISTED])
    for at, (label, n) in enumerate(counts[:_LISTED]):
        line = f"{'labels' if at == 0 else '':<12} {label:<{width}}  n = {n}"
        yield line + (f", temperature {own[label]:.2f}" if label in own else "")
    if len(counts) > _LISTED:
        yield f"             and {len(counts) - _LISTED} more labels"


def _temperature(calibration: Calibration) -> Iterator[str]:
    temperature = calibration.temperature
    means = "confidences fall" if temperature > 1 else "confidences rise"
    yield f"temperature  {temperature:.3f} (above 1 the model was too sure; {means})"
    if calibration.none_logit is not None:
        yield f"none weighs  {calibration.none_logit:.3f}, in the model's logits"


def _errors(measured: Measured) -> Iterator[str]:
    before, after = measured.before, measured.after
    yield f"right        {before.accuracy:.1%} of the answers" + (
        "" if after is None else f", calibrated {after.accuracy:.1%}"
    )
    if after is None:
        yield f"ECE          {before.error:.3f} before; after: no photos could be held out"
        return
    yield (
        f"ECE          {before.error:.3f} before, {after.error:.3f} after, measured on photos that"
        f" were held out ({FOLDS} folds);"
    )
    yield f"             perfect confidences show about {measured.unavoidable:.3f} on so few photos"
    if after.error >= before.error:
        yield "             It did not fall: these photos do not tell enough of others."


def not_known(left_out: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Lines on photos with answers that this model has no label for."""
    for why, n in Counter(why for _, why in left_out).most_common(_LISTED):
        yield f"left out     {n} photos: {why}"

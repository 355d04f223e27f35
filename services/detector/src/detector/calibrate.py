"""`python -m detector.calibrate FOLDER`: fit the confidences of the detector's model to photos
whose labels are known. Exit codes: 0 calibrated, 1 nothing was fitted, 2 wrong use, 3 fitted, but
to too few photos, or for the worse: that does not count as calibrated.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from pydantic import Field
from pydantic_settings import CliPositionalArg

from darkroom_schemas.avro import schema_of
from detector import calibrate_folder
from detector.calibrate_examples import CalibrateError, Example, Names, Read
from detector.calibrate_look import Progress, Seen, look
from detector.calibrate_reviews import AnswerTopic, Renditions
from detector.calibrate_summary import not_known, summary
from detector.calibration import Calibration
from detector.calibration_fit import fit
from detector.calibration_measure import measure
from detector.engines import Labeller, load_labeller
from detector.settings import Settings
from streamkit import Codec, SchemaIds

OK: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
DOUBTFUL: Final = 3


class Command(Settings):
    """Fit the confidences of the detector's model to photos whose labels are known.

    Give a FOLDER with a folder of photos for each label (`none` for what no label fits), or
    `--reviews` to take people's answers. The result is for the setting
    DARKROOM_DETECTOR_CALIBRATION. Ends with 0: calibrated; 1: nothing was fitted; 2: wrong use;
    3: fitted, but to too few photos or for the worse, which does not count as calibrated.
    """

    folder: CliPositionalArg[Path | None] = Field(None, description="LABEL/photo.jpg below it")
    reviews: str = Field(
        "", description="address of the gateway's api door: fit to the answers in the topic"
    )
    file: Path | None = Field(
        None, validation_alias="json", description="where to write the calibration as JSON"
    )


Load = Callable[[Settings], Labeller]
"""Loads the labeller that settings name."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Photos whose labels are known, where from, and lines on those that are left out."""

    examples: Sequence[Example]
    read: Read
    source: str
    notes: Sequence[str] = ()


def calibrate(command: Command, load: Load, say: Callable[[str], None], progress: Progress) -> int:
    """Fit and write as told; `say` is given what a person should read. Returns the exit code.

    Raises CalibrateError.
    """
    if command.file is not None and not command.file.parent.is_dir():
        raise CalibrateError(f"There is no folder {command.file.parent} to write into.")
    labeller = _loaded(load, command)
    with ExitStack() as open_things:
        known = _known(command, Names.of(labeller.labels), open_things)
        for line in known.notes:
            say(line)
        seen = look(labeller, known.examples, known.read, progress)
    calibration, text = _fitted(labeller, seen, known.source)
    if command.file is not None:
        _write(command.file, calibration.to_json() + "\n")
    say(text)
    return OK if calibration.calibrated else DOUBTFUL


def _loaded(load: Load, settings: Settings) -> Labeller:
    try:
        return load(settings)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        raise CalibrateError(f"The model can't be loaded: {error}") from error


def _known(command: Command, names: Names, open_things: ExitStack) -> _Known:
    if command.folder is not None:
        examples = calibrate_folder.labelled(command.folder, names)
        read = partial(calibrate_folder.read, command.folder)
        return _Known(examples, read, f"folder {command.folder.resolve().name}")
    ids = SchemaIds(command.registry, command.cache)
    told = AnswerTopic(command, Codec(ids, schema_of, command.topic_prefix)).read()
    examples, left_out = told.newest.examples(names)
    notes = (
        f"answers      {told.records}, of them {told.newest.skips} skips and {told.unreadable}"
        f" unreadable; about {told.newest.photos} photos",
        *not_known(left_out),
    )
    photos = open_things.enter_context(Renditions(command.reviews))
    return _Known(examples, photos.read, "reviews", notes)


def _fitted(labeller: Labeller, seen: Seen, source: str) -> tuple[Calibration, str]:
    sample, labels, none_logit = seen.sample, labeller.labels, labeller.none_logit
    measured = measure(sample, labels, none_logit)
    calibration = replace(
        fit(sample, labels, none_logit),
        source=source,
        fitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model_version=labeller.model_version,
        ece_before=round(measured.before.error, 4),
        ece_after=None if measured.after is None else round(measured.after.error, 4),
    )
    return calibration, summary(calibration, measured, seen)


def _write(file: Path, text: str) -> None:
    """So that nobody ever reads half of it."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise CalibrateError(f"{file} can't be written: {error.strerror}.") from error


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


class _Progress:
    """Says each tenth of the way."""

    _tenths = 0

    def __call__(self, done: int, total: int) -> None:
        """As Progress."""
        tenths = 10 * done // total
        if tenths > self._tenths:
            self._tenths = tenths
            sys.stderr.write(f"{done} of {total} photos\n")


def main() -> int:
    """The command; a sentence on standard error where it can't be done."""
    command = Command.from_command_line("python -m detector.calibrate")
    if (command.folder is None) == (not command.reviews):
        sys.stderr.write("calibrate: give either a FOLDER or --reviews; --help says more\n")
        return MISUSED
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        return calibrate(command, load_labeller, _say, _Progress())
    except CalibrateError as error:
        sys.stderr.write(f"calibrate: {error}\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main())

"""`python -m detector.calibrate FOLDER`, on colours."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backbones import BackboneError
from colour_labeller import COLOURS, Colours
from detector import calibrate_look
from detector.calibrate import DOUBTFUL, MISUSED, OK, Command, calibrate
from detector.calibrate_examples import CalibrateError, Example
from detector.calibrate_look import look
from detector.calibration import ENOUGH, calibration_of
from detector.settings import Settings


def save(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), colour).save(path)


def fill(folder: Path, each: int, wrong_every: int = 3) -> Path:
    """Photos of the three colours; some of them look like the next one."""
    names = tuple(COLOURS)
    for at, name in enumerate(names):
        for n in range(each):
            looks = names[(at + 1) % 3] if n % wrong_every == 0 else name
            save(folder / name / f"{n}.png", COLOURS[looks])
    return folder


def command(*flags: str) -> Command:
    return Command.from_command_line("calibrate", list(flags))


def run(*flags: str, labeller: Colours | None = None) -> tuple[int, str]:
    """Exit code, and what was said."""
    said: list[str] = []
    chosen = labeller or Colours()
    code = calibrate(command(*flags), lambda _: chosen, said.append, lambda done, total: None)
    return code, "\n".join(said)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough of them, of which a third is labelled otherwise than they look."""
    return fill(tmp_path_factory.mktemp("photos"), each=70)


def test_enough_photos_make_the_model_as_sure_as_it_is_right(photos: Path, tmp_path: Path) -> None:
    code, said = run(str(photos), "--json", str(tmp_path / "c.json"))
    assert code == OK
    written = calibration_of(str(tmp_path / "c.json")).for_model("colours@1")
    assert written.n == 210
    assert written.calibrated
    assert written.source == f"folder {photos.name}"
    assert written.fitted_at.startswith("20")
    assert written.ece_before == pytest.approx(1 / 3, abs=0.05)
    assert written.ece_after is not None
    assert written.ece_after < 0.15  # chance alone: 14 photos a bin
    sure, _ = written.probabilities(np.array([[8, 0, 0]], np.float32), Colours.labels, None)
    assert sure[0, 0] == pytest.approx(0.66, abs=0.04)
    for line in ("n = 210", "red    n = 70", "verdict      calibrated", "ECE "):
        assert line in said


def test_too_few_photos_are_fitted_and_it_says_how_many_are_needed(tmp_path: Path) -> None:
    code, said = run(str(fill(tmp_path / "p", each=4)), "--json", str(tmp_path / "c.json"))
    assert code == DOUBTFUL
    assert said.endswith(f"verdict      uncalibrated: needs {ENOUGH - 12} more photos (200 in all)")
    assert not calibration_of(str(tmp_path / "c.json")).calibrated


def test_what_no_label_fits_teaches_the_model_to_say_none(tmp_path: Path) -> None:
    folder = fill(tmp_path / "p", each=10, wrong_every=100)
    for n in range(30):
        save(folder / "none" / f"{n}.png", (40, 40, 40))
    run(str(folder), "--json", str(tmp_path / "c.json"))
    fitted = calibration_of(str(tmp_path / "c.json"))
    rows = np.array([[8, 0, 0], [1.2, 1.2, 1.2]], np.float32)
    labels, none = fitted.probabilities(rows, Colours.labels, None)
    assert none[0] < labels[0, 0]
    assert none[1] > labels[1].max()


def test_files_that_are_no_pictures_are_named_and_left_out(tmp_path: Path) -> None:
    folder = fill(tmp_path / "p", each=4)
    (folder / "red" / "notes.txt").write_text("Dear diary")
    (folder / "red" / "cut.png").write_bytes((folder / "red" / "1.png").read_bytes()[:45])
    _, said = run(str(folder))
    assert "n = 12" in said
    assert "left out     red/notes.txt: This is not a picture" in said
    assert "left out     red/cut.png: The file is cut off" in said


def test_a_folder_of_nothing_usable_fails_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "notes.txt").write_text("Dear diary")
    with pytest.raises(CalibrateError, match=r"None of the photos.*red/notes\.txt: This is not"):
        run(str(tmp_path))


def test_few_photos_are_looked_at_at_a_time(photos: Path) -> None:
    labeller = Colours()
    run(str(photos), labeller=labeller)
    assert labeller.seen == 210
    assert labeller.most <= 8


def test_of_more_photos_than_are_kept_some_are_used_and_it_says_so(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate_look, "MOST_LOGITS", 60 * 3)
    _, said = run(str(photos))
    assert "n = 60" in said
    assert "150 more were not looked at" in said


def test_a_photo_without_a_finite_answer_is_left_out(tmp_path: Path) -> None:
    class Broken(Colours):
        def logits(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
            rows = super().logits(images)
            rows[rows[:, 0] > 7] = np.nan
            return rows

    folder = fill(tmp_path / "p", each=4, wrong_every=100)
    _, said = run(str(folder), labeller=Broken())
    assert "no answer to it" in said


def test_a_picture_that_the_model_can_not_take_is_left_out_alone(tmp_path: Path) -> None:
    class Choosy(Colours):
        def logits(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
            if any(image.width > image.height * 9 for image in images):
                raise BackboneError("bad kernel")
            return super().logits(images)

    folder = fill(tmp_path / "p", each=4)
    Image.new("RGB", (200, 10)).save(folder / "red" / "wide.png")
    _, said = run(str(folder), labeller=Choosy())
    assert "n = 12" in said
    assert "left out     red/wide.png: The model has no answer to it." in said


def test_a_model_that_can_not_be_loaded_is_told_in_a_sentence(tmp_path: Path) -> None:
    def broken(settings: Settings) -> Colours:
        raise RuntimeError("no weights")

    with pytest.raises(CalibrateError, match="The model can't be loaded: no weights"):
        calibrate(command(str(tmp_path)), broken, lambda _: None, lambda *_: None)


def test_progress_is_told_up_to_the_last_photo(photos: Path) -> None:
    told: list[tuple[int, int]] = []
    calibrate(
        command(str(photos)),
        lambda _: Colours(),
        lambda _: None,
        lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (210, 210)
    assert told == sorted(told)


def test_photos_of_one_group_count_as_one(tmp_path: Path) -> None:
    for day in ("monday", "friday"):
        for n in range(3):
            save(tmp_path / "red" / day / f"{n}.png", COLOURS["red"])
    _, said = run(str(tmp_path))
    assert "n = 2: 6 photos are in 2 groups" in said
    assert "needs 198 more photos" in said


def test_a_place_that_can_not_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    def never(settings: Settings) -> Colours:
        raise AssertionError("loaded")

    flags = command(str(tmp_path), "--json", str(tmp_path / "gone" / "c.json"))
    with pytest.raises(CalibrateError, match="no folder"):
        calibrate(flags, never, lambda _: None, lambda *_: None)


def test_a_reader_that_fails_for_one_photo_does_not_end_the_others(tmp_path: Path) -> None:
    save(tmp_path / "red.png", COLOURS["red"])

    def read(example: Example) -> bytes:
        return b"" if example.name == "gone" else (tmp_path / "red.png").read_bytes()

    examples = [Example("gone", "red", "1"), Example("here", "red", "2")]
    seen = look(Colours(), examples, read, lambda *_: None)
    assert [one.name for one in seen.used] == ["here"]
    assert [name for name, _ in seen.left_out] == ["gone"]


@pytest.mark.parametrize(
    "flags", [[], ["some/folder", "--reviews", "http://127.0.0.1:1"]], ids=["neither", "both"]
)
def test_either_a_folder_or_reviews_have_to_be_given(flags: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "detector.calibrate", *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (MISUSED, "")
    assert "either a FOLDER or --reviews" in done.stderr

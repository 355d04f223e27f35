"""What a look through a source decides without asking anybody."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.job_run import JobError
from gateway.control.sync import Trouble, check_presence, is_fresh
from gateway.origins.files import shown, unshown

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("age", "fresh"),
    [(0, True), (9.9, True), (10.1, False), (1e6, False), (-2, True), (-86_400, False)],
)
def test_only_files_of_these_seconds_may_still_be_written_to(age: float, fresh: bool) -> None:
    assert is_fresh(f"123:{int((NOW - age) * 1e9)}", NOW, 10.0) is fresh


@given(
    st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name)
    | st.text("\\\\x0f\xff", min_size=1).map(os.fsencode)
)
def test_a_path_can_be_found_by_what_is_shown_of_it(name: bytes) -> None:
    path = os.fsdecode(name)
    text = shown(path)
    text.encode()
    assert unshown(text) == path


def test_a_source_that_is_there_is_no_trouble() -> None:
    below = Trouble("/mnt/a/b", "file_forbidden", "There is no permission to read it.")
    check_presence("/mnt/a", 10, 1, [below])
    check_presence("/mnt/a", 0, 0, [])


@pytest.mark.parametrize(
    ("held", "found", "troubles"),
    [
        (10, 0, []),
        (0, 0, [Trouble("/mnt/a", "file_missing", "The file is not there any more.")]),
        (10, 5, [Trouble("/mnt/a", "file_forbidden", "There is no permission to read it.")]),
    ],
)
def test_a_source_that_is_away_is_told_from_an_empty_one(
    held: int, found: int, troubles: list[Trouble]
) -> None:
    with pytest.raises(JobError, match="Nothing of it counts as gone"):
        check_presence("/mnt/a", held, found, troubles)

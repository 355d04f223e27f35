"""A suite is good only if something passed and nothing failed."""

from pathlib import Path

import pytest

from darkroom_cli.suites import SUITES, Suite, run_suite

ROOT = Path(__file__).parents[3]


def ran(folder: Path, test: str, *checks: tuple[str, ...]) -> tuple[int, int, bool]:
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    suite = Suite("it", (".",), 60, checks=checks)
    with (folder / "output").open("w+", encoding="utf-8") as out:
        result = run_suite(suite, folder, ("-p", "no:cacheprovider"), out)
        out.seek(0)
        assert not result.passed or f"{result.passed} passed" in out.read()
    return result.passed, result.failed, result.good


def test_passed_and_failed_tests_are_counted(tmp_path: Path) -> None:
    tests = "def test_a(): pass\ndef test_b(): assert False\ndef test_c(): pass\n"
    assert ran(tmp_path, tests) == (2, 1, False)


def test_a_suite_without_tests_is_not_good(tmp_path: Path) -> None:
    assert ran(tmp_path, "") == (0, 0, False)


def test_a_broken_check_is_not_good(tmp_path: Path) -> None:
    assert ran(tmp_path, "def test_a(): pass\n", ("python", "-c", "exit(1)")) == (1, 0, False)


def test_all_that_passes_is_good(tmp_path: Path) -> None:
    assert ran(tmp_path, "def test_a(): pass\n", ("python", "-c", "exit(0)")) == (1, 0, True)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_suite_has_its_folders(suite: Suite) -> None:
    assert all((ROOT / path).is_dir() for path in suite.paths)


def test_no_test_folder_is_left_out() -> None:
    listed = {path for suite in SUITES for path in suite.paths}
    folders = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders <= listed

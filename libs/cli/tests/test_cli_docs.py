"""`darkroom docs` builds the documentation of the checkout."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from darkroom_cli.app import build
from darkroom_cli.commands import documentation
from darkroom_cli.paths import repository_root


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """With what the builder would be run."""
    calls: list[Sequence[str]] = []

    def note(module: str, arguments: Sequence[str], _root: Path) -> int:
        calls.append((module, *arguments))
        return 3

    monkeypatch.setattr(documentation, "run_module", note)
    return calls


def test_the_site_is_built_in_the_checkout_and_the_builders_exit_code_is_told(
    asked: list[Sequence[str]],
) -> None:
    done = CliRunner().invoke(build("docs"), ["docs"])
    assert done.exit_code == 3
    site = str(repository_root() / ".site")
    assert asked == [("docs.tools.site", "--output", site, "--port", "8000")]


def test_it_is_shown_where_one_wants_it(asked: list[Sequence[str]], tmp_path: Path) -> None:
    words = ["docs", "--serve", "--port", "0", "--output", str(tmp_path)]
    CliRunner().invoke(build("docs"), words)
    assert asked == [("docs.tools.site", "--output", str(tmp_path), "--port", "0", "--serve")]

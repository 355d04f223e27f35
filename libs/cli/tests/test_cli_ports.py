"""Ports of stacks that start at the same time."""

import subprocess
import sys
from pathlib import Path

import pytest

from darkroom_cli.errors import StackError
from darkroom_cli.infra import ports

CLAIM = """
import sys
from pathlib import Path
from darkroom_cli.infra import ports
ports._RANGE = range(int(sys.argv[2]), int(sys.argv[2]) + 2)
print(ports.claim(Path(sys.argv[1]), ["api"], {})["api"], flush=True)
sys.stdin.read()
"""


def two_free() -> int:
    """The first of two neighbours on which nobody listens, where no stack looks for ports."""
    return next(n for n in range(30_000, 32_000, 2) if ports.is_free(n) and ports.is_free(n + 1))


def test_a_claimed_port_is_nobody_elses_until_the_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = two_free()
    monkeypatch.setattr(ports, "_RANGE", range(first, first + 2))
    other = subprocess.Popen(
        (sys.executable, "-c", CLAIM, str(tmp_path / "other.json"), str(first)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    theirs = int(other.stdout.readline())
    ours = ports.claim(tmp_path / "ours.json", ["api"], {"api": theirs})["api"]
    assert {theirs, ours} == {first, first + 1}
    with pytest.raises(StackError):
        ports.claim(tmp_path / "more.json", ["api", "kafka", "redis"], {})
    other.communicate()
    (tmp_path / "ours.json").write_text(f'{{"api": {theirs}}}')
    assert ports.claim(tmp_path / "ours.json", ["api"], {}) == {"api": theirs}

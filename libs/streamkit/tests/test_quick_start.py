"""The README's quick start, as somebody types it."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_quick_start_is_short_and_its_test_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    program, test = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)[:2]
    assert len(program.splitlines()) < 30
    shouter = ModuleType("shouter")
    monkeypatch.setitem(sys.modules, "shouter", shouter)
    exec(program, shouter.__dict__)  # noqa: S102 - our own README
    exec(test, {})  # noqa: S102

"""How processes divide the tests of a suite: what belongs together, what begins first."""

from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

_OWN_SYSTEM: Final = ("tests/e2e/test_demo.py", "tests/e2e/test_poisoned_photos.py")


def group_of(nodeid: str) -> str:
    """One process has all tests of a file, and all that use the system of tests/e2e/conftest.py."""
    file = nodeid.partition("::")[0]
    shared = file.startswith("tests/e2e/") and file not in _OWN_SYSTEM
    return "tests/e2e" if shared else file


def longest_first(items: list[pytest.Item]) -> None:
    """Files that are marked `long` begin first, so that the others fill the time beside them."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each group to one process. (xdist's own groups, by a mark, need an older pytest.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

"""How processes divide the tests of a suite: what belongs together, what begins first."""

from collections.abc import Sequence

import pytest


def share_out(items: list[pytest.Item], together: Sequence[str] = ()) -> None:
    """Keep the tests of a file together, and the files that use one of the fixtures `together`; put
    those that are marked `long` first, so that the others fill the time beside them."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            fixtures: Sequence[str] = getattr(item, "fixturenames", ())
            group = next((name for name in together if name in fixtures), str(item.path))
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("long") is None)

"""Names of heads."""

import pytest

from darkroom_schemas.heads import HeadOf, head_name, head_of


def test_a_name_says_whose_head_it_is() -> None:
    assert head_of(head_name("an-owner", "pets: mine")) == HeadOf("an-owner", "pets: mine")


@pytest.mark.parametrize("model", ["embedder", "head:", "head:owner", "head::name", "head:owner:"])
def test_what_is_no_head_has_none(model: str) -> None:
    assert head_of(model) is None

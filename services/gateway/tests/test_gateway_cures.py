"""What helps against failures."""

import pytest

from gateway.catalog.cures import CURES, GENERAL, cure_of
from gateway.catalog.repairs import DEADLINE
from imaging import RejectionCode


@pytest.mark.parametrize("code", [*(code.value for code in RejectionCode), DEADLINE])
def test_every_reason_to_reject_a_photo_has_a_cure_of_its_own(code: str) -> None:
    assert cure_of(code) != GENERAL


def test_an_unknown_code_has_the_general_one() -> None:
    assert cure_of("something new") == GENERAL


def test_cures_are_sentences() -> None:
    for cure in (*CURES.values(), GENERAL):
        assert cure[0].isupper()
        assert cure.endswith(".")
        assert "  " not in cure

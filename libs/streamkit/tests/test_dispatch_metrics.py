"""What is counted of engines: whether they work, and why they were replaced."""

from typing import cast
from unittest.mock import MagicMock

import pytest
from prometheus_client import REGISTRY

from streamkit.dispatch import Dispatcher, Slot
from streamkit.gate import Gate
from streamkit.metrics import Meter
from streamkit.policy import Policy
from streamkit.ports import Engine, EngineGone

STAGE = "d-engines"


@pytest.fixture
def dispatcher() -> Dispatcher:
    """One with an engine that loads."""
    engine = MagicMock()
    engine.name = "bulk"
    meter = Meter(STAGE)
    slot = Slot(cast(Engine, engine), frozenset())
    dispatcher = Dispatcher([slot], {}, Policy(), Gate(meter), meter, None)
    dispatcher.start(0.0)
    return dispatcher


def ready() -> float | None:
    labels = {"stage": STAGE, "engine": "bulk"}
    return REGISTRY.get_sample_value("darkroom_engine_ready", labels)


def replaced(why: str) -> float:
    labels = {"stage": STAGE, "engine": "bulk", "why": why}
    found = REGISTRY.get_sample_value("darkroom_engine_restarts_total", labels)
    assert found is not None, "the first failure would be a new series, not a rise"
    return found


GONE = EngineGone("bulk", (), "weights.bin is missing")


def test_an_engine_works_from_the_moment_it_has_loaded_until_it_ends(
    dispatcher: Dispatcher,
) -> None:
    assert ready() == 0
    dispatcher.ready("bulk")
    assert ready() == 1
    dispatcher.gone(GONE, 1.0)
    assert ready() == 0


def test_one_that_ends_before_it_has_loaded_is_told_from_one_that_dies(
    dispatcher: Dispatcher,
) -> None:
    died, failed = replaced("died"), replaced("load_failed")
    dispatcher.gone(GONE, 1.0)
    assert (replaced("died"), replaced("load_failed")) == (died, failed + 1)
    dispatcher.ready("bulk")
    dispatcher.gone(GONE, 2.0)
    assert (replaced("died"), replaced("load_failed")) == (died + 1, failed + 1)


def test_one_that_does_not_load_in_time_is_replaced_and_counted_once(
    dispatcher: Dispatcher,
) -> None:
    late, failed = replaced("loading"), replaced("load_failed")
    dispatcher.check(Policy().load_deadline_s + 1)
    dispatcher.gone(GONE, 1.0)
    assert (replaced("loading"), replaced("load_failed")) == (late + 1, failed)

"""What the log says of engines that can't be loaded: at once, and then seldom."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from streamkit.engine.loading import LoadError, loaded
from streamkit.engine.trouble import Trouble
from streamkit.engines import EngineLoadError, UnknownEngineError
from streamkit.errors import Busy, Retry
from streamkit.messages import Handlers


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lasting(trouble: Trouble, clock: Clock, seconds: int, cause: str = "no weights") -> list[float]:
    """When it is told again, in seconds, if it is met each second."""
    told: list[float] = []
    for second in range(seconds):
        with capture_logs() as logs:
            trouble.tell("load_failed", cause, trace="Traceback")
        told += [second] * len(logs)
        clock.now += 1
    return told


def test_what_lasts_is_told_at_once_and_then_ever_more_seldom_but_each_minute() -> None:
    clock = Clock()
    assert lasting(Trouble("bulk", clock), clock, 260) == [0, 5, 15, 35, 75, 135, 195, 255]


def test_another_cause_is_told_at_once_and_so_is_what_comes_after_all_was_well() -> None:
    clock = Clock()
    trouble = Trouble("bulk", clock)
    assert lasting(trouble, clock, 60) == [0, 5, 15, 35]
    assert lasting(trouble, clock, 10, "no memory") == [0, 5]
    trouble.over()
    assert lasting(trouble, clock, 10, "no memory") == [0, 5]


def test_a_line_says_what_and_how_often_and_where_only_the_first_time() -> None:
    clock = Clock()
    trouble = Trouble("bulk", clock)
    with capture_logs() as logs:
        for _ in range(3):
            trouble.tell("load_failed", "no weights", trace="Traceback", records=2)
            clock.now += 4
        trouble.tell("load_failed", "wrong weights", fatal=True)
    about = {"event": "load_failed", "engine": "bulk"}
    first = {**about, "reason": "no weights", "records": 2, "log_level": "warning"}
    assert logs == [
        {**first, "exception": "Traceback"},
        {**first, "times": 3},
        {**about, "reason": "wrong weights", "log_level": "error"},
    ]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (EngineLoadError("No weights."), "No weights."),
        (UnknownEngineError("engine 'x' is not known"), "engine 'x' is not known"),
        (Busy("the store sleeps"), "the store sleeps"),
        (Retry("the store sleeps"), "the store sleeps"),
    ],
)
def test_what_was_foreseen_is_a_sentence_without_a_traceback(
    error: Exception, sentence: str
) -> None:
    failed = failure(error)
    assert str(failed) == f"The handlers of test can't be loaded: {sentence}"
    assert not failed.trace


@pytest.mark.parametrize("error", [KeyError("w"), SystemExit("w"), Busy("w", unforeseen=True)])
def test_what_nobody_foresaw_is_named_and_has_a_traceback(error: BaseException) -> None:
    failed = failure(error)
    assert f"can't be loaded: {type(error).__name__}: " in str(failed)
    assert "in make\n" in failed.trace


def failure(error: BaseException) -> LoadError:
    def make() -> tuple[Handlers, Any]:
        raise error

    with pytest.raises(LoadError) as caught:
        loaded("test", make)
    return caught.value


def test_where_a_foreseen_one_comes_from_is_told_at_the_level_debug() -> None:
    with capture_logs() as logs:
        failure(EngineLoadError("No weights."))
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("load_failed", "debug")
    assert isinstance(line["exc_info"], EngineLoadError)

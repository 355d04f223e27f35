"""The first dead letter of a kind is told at once, and only that one."""

import pytest

from scripted_stage import SERVICE, ScriptedStage
from streamkit.errors import Reject

NOTICES = "ops.notified.v1"


@pytest.fixture
def stage() -> ScriptedStage:
    """A service whose workers have started."""
    stage = ScriptedStage()
    stage.kit.advance(1)
    return stage


def test_the_first_dead_letter_of_a_kind_is_told_with_its_reason_and_what_to_do(
    stage: ScriptedStage,
) -> None:
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.say("bad", "good")
    (notice,) = stage.kit.notices()
    value = notice.value
    assert (value["kind"], value["subject"], value["service"], value["severity"]) == (
        "first_dead_letter",
        "too_dark",
        SERVICE,
        "warning",
    )
    assert value["title"] == f"{SERVICE} gave up a record: too_dark"
    assert "After 1 attempt: There is nothing to see." in value["detail"]
    assert f"darkroom dlq list {SERVICE} --code too_dark" in value["detail"]


def test_a_kind_of_dead_letter_is_told_once_an_hour_and_each_kind_by_itself(
    stage: ScriptedStage,
) -> None:
    stage.script.does("dark", Reject("too_dark", "There is nothing to see."))
    stage.script.does("odd", Reject("odd_size", "It is a line."))
    for number in range(5):
        stage.say(f"dark {number}", f"odd {number}", f"good {number}", f"fine {number}")
    assert sorted(one.value["subject"] for one in stage.kit.notices()) == ["odd_size", "too_dark"]
    stage.kit.advance(3600)
    stage.say("dark once more")
    told = [one.value["notice_id"] for one in stage.kit.notices()]
    assert len(told) == len(set(told)) == 3


def test_codes_without_end_are_told_up_to_a_bound(stage: ScriptedStage) -> None:
    for number in range(80):
        stage.script.does(f"bad{number}", Reject(f"code {number}", "no"))
    for number in range(80):
        stage.say(f"bad{number}", f"good {number}", f"fine {number}")
    assert len(stage.kit.dead_letters()) == 80
    assert len(stage.kit.notices()) == 50


def test_what_a_code_holds_is_no_command(stage: ScriptedStage) -> None:
    stage.script.does("bad", Reject("x; rm -r ~\n\udcff", "no"))
    stage.say("bad", "good")
    (notice,) = stage.kit.notices()
    assert "--code 'x; rm -r ~" in notice.value["detail"]
    assert stage.done() == ["good"]


def test_a_first_dead_letter_that_can_not_be_told_costs_nothing(stage: ScriptedStage) -> None:
    stage.kit.world.broker.refused.add(NOTICES)
    stage.script.does("bad", Reject("too_dark", "There is nothing to see."))
    stage.say("bad", "good")
    stage.kit.advance(30)
    assert (stage.done(), len(stage.kit.dead_letters())) == (["good"], 1)
    assert stage.kit.notices() == []
    assert stage.unread() == 0

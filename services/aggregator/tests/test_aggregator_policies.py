"""Which policy routes an analysis of which revision."""

import threading
from typing import Any

import pytest

from aggregator.policies import Policies, PolicyTopic, UnknownPolicyError, policy_of
from aggregator.routing import Policy, Thresholds
from streamkit import Reject
from streamkit.backoff import Stopped
from streamkit.kafka.follower import Look

FIRST = Policy(Thresholds(0.7, 0.6))
FIFTH = Policy(Thresholds(0.9, 0.1))


class Source:
    """A topic that is looked at when the test says so."""

    def __init__(self) -> None:
        self.looks: list[Look] = []

    def look(self) -> Look:
        self.looks.append(Look())
        return self.looks[-1]


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def policies() -> Policies:
    return Policies(FIRST)


def event(**changes: Any) -> dict[str, Any]:
    return {"revision": 5, "auto_above": 0.9, "review_below": 0.1, "labels": [], **changes}


def test_revision_1_is_what_the_settings_say(policies: Policies, source: Source) -> None:
    policies.told(1, FIFTH)
    assert policies.of(1, source) == FIRST
    assert source.looks == []


def test_a_revision_is_what_was_said_of_it_first(policies: Policies, source: Source) -> None:
    policies.told(5, FIFTH)
    policies.told(5, FIRST)
    assert policies.of(5, source) == FIFTH


def test_one_that_is_not_known_is_looked_up_and_waited_for(
    policies: Policies, source: Source
) -> None:
    for _ in range(3):
        with pytest.raises(UnknownPolicyError):
            policies.of(5, source)
    (look,) = source.looks
    policies.told(5, FIFTH)
    assert policies.of(5, source) == FIFTH
    look.done.set()
    assert policies.of(5, source) == FIFTH


def test_one_that_does_not_exist_is_the_first_until_it_does(
    policies: Policies, source: Source
) -> None:
    with pytest.raises(UnknownPolicyError):
        policies.of(5, source)
    source.looks[0].done.set()
    assert policies.of(5, source) == FIRST
    assert policies.of(5, source) == FIRST
    assert len(source.looks) == 1
    policies.told(5, FIFTH)
    assert policies.of(5, source) == FIFTH


def test_of_those_that_do_not_exist_only_so_many_are_remembered(
    policies: Policies, source: Source
) -> None:
    for revision in range(2, 2_500):
        with pytest.raises(UnknownPolicyError):
            policies.of(revision, source)
        source.looks[-1].done.set()
        assert policies.of(revision, source) == FIRST
    assert len(policies._unknown) <= 1_000
    assert policies._looks == {}


def test_a_policy_has_thresholds_in_general_and_of_labels() -> None:
    labels = [{"label": "cat", "auto_above": 0.95, "review_below": 0.9}]
    wanted = Policy(Thresholds(0.9, 0.1), {"cat": Thresholds(0.95, 0.9)})
    assert policy_of(event(labels=labels)) == wanted


@pytest.mark.parametrize(
    "wrong",
    [
        {"auto_above": 1.5},
        {"review_below": -0.1},
        {"auto_above": 0.2, "review_below": 0.3},
        {"labels": [{"label": "cat", "auto_above": 0.1, "review_below": 0.9}]},
    ],
)
def test_thresholds_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no thresholds"):
        policy_of(event(**wrong))


class Codec:
    """Decodes what the test says."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def decode(self, _topic: str, _value: bytes) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_what_can_not_be_read_is_passed_over(policies: Policies, source: Source) -> None:
    codec: Any = Codec(Reject("undecodable", "junk"), event(auto_above=7), event())
    topic = PolicyTopic("127.0.0.1:1", codec, policies)
    for value in (b"junk", None, b"7", b"good"):
        topic._tell(b"5", value)
    assert policies.of(5, source) == FIFTH


def test_a_process_that_waits_for_the_policies_can_be_stopped(policies: Policies) -> None:
    topic = PolicyTopic("127.0.0.1:1", Codec(), policies)  # type: ignore[arg-type]
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Stopped):
        topic.start(stop)
    topic.close()

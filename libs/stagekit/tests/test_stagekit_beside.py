"""A shadow beside the version that holds, and work outside of any analysis."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stage_part import begun, request, whole
from stagekit import Also, Found, Loaded, Photo, Said, Servings, Stage, StageSettings, handlers
from stagekit.beside import difference, looks
from stagekit.serving import Resident, Serving, Shadow
from streamkit import Emit, Failure, Message, ObjectStore, Reject


class Engine:
    name = "stub"

    def __init__(self, version: str) -> None:
        self.model_version = version


def says(found: Found) -> Said:
    label = found["labels"][0]
    return Said(label["name"], label["confidence"], {label["name"]: label["confidence"]})


def loaded(version: str, label: str, confidence: float) -> Loaded:
    def look(_photo: Photo) -> dict[str, Any]:
        return {"labels": [{"name": label, "confidence": confidence}]}

    return Loaded(Engine(version), look)


def never(_settings: StageSettings) -> Loaded:
    raise AssertionError("it is loaded already")


def answer(asked: Mapping[str, Any], about: Mapping[str, Any], found: Found | str) -> Any:
    return {**about, "photo_id": asked["photo_id"], "found": found}


AGAIN = Also("demo.requested.v1", "learning", "demo.answered.v1", answer)
STAGE = Stage("detector", "1", "photo.objects-detected.v1", never, says=says, also=(AGAIN,))


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(f"file://{tmp_path}")


@pytest.fixture
def asked(store: ObjectStore) -> Message:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return request(store.put("renditions/a.png", file.getvalue()))


def events(
    store: ObjectStore, message: Message, shadow: Loaded | None, share: float = 1.0
) -> Sequence[Emit]:
    serving = Serving.of(loaded("v@1", "cat", 0.8))
    if shadow is not None:
        resident = Resident(shadow, lambda: shadow, lambda: 0.0)
        serving = replace(serving, shadow=Shadow("v@2", resident, share))
    return whole(begun(handlers(STAGE, Servings(serving), store), message))


def test_what_a_shadow_says_is_told_beside_the_part_which_stays_as_it_is(
    store: ObjectStore, asked: Message
) -> None:
    (alone,) = events(store, asked, None)
    part, compared = events(store, asked, loaded("v@2", "dog", 0.6))

    assert part.id == alone.id
    assert part.value["labels"] == alone.value["labels"]
    assert part.value["model_version"] == "v@1"
    said = compared.value
    assert compared.topic == "photo.model-compared.v1"
    assert (said["active_version"], said["shadow_version"]) == ("v@1", "v@2")
    assert (said["agrees"], said["active_says"], said["shadow_says"]) == (False, "cat", "dog")
    assert (said["active_confidence"], said["shadow_confidence"]) == (0.8, 0.6)
    assert said["difference"] == 1.0
    assert said["error"] is None


def test_a_shadow_that_agrees_may_still_be_less_sure(store: ObjectStore, asked: Message) -> None:
    _, compared = events(store, asked, loaded("v@2", "cat", 0.4))
    assert compared.value["agrees"] is True
    assert compared.value["difference"] == pytest.approx(0.5)


@pytest.mark.parametrize("error", [Reject("engine_failed", "It is no use."), ZeroDivisionError()])
def test_whatever_is_wrong_with_a_shadow_costs_no_photo_its_part(
    store: ObjectStore, asked: Message, error: Exception
) -> None:
    def fail(_photo: Photo) -> dict[str, Any]:
        raise error

    part, compared = events(store, asked, Loaded(Engine("v@2"), fail))

    assert part.value["labels"][0]["name"] == "cat"
    assert (compared.value["agrees"], compared.value["difference"]) == (False, 1.0)
    assert compared.value["error"].startswith(type(error).__name__)


def test_no_shadow_looks_at_what_a_person_waits_for(asked: Message) -> None:
    assert looks(1.0, asked)
    assert not looks(1.0, replace(asked, lane="high"))


@given(st.lists(st.uuids(), min_size=400, max_size=400), st.sampled_from([0.1, 0.5, 0.9]))
def test_a_share_is_always_the_same_photos_and_a_larger_one_has_them_too(
    analyses: list[UUID], share: float
) -> None:
    messages = [
        Message("t", "batch", "k", {"analysis_id": str(one)}, {}, 0, 0, 0) for one in analyses
    ]
    some = [looks(share, one) for one in messages]
    more = [looks(min(1.0, share + 0.1), one) for one in messages]
    assert some == [looks(share, one) for one in messages]
    assert all(larger or not smaller for smaller, larger in zip(some, more, strict=True))


WEIGHTS = st.dictionaries(st.sampled_from("abcde"), st.floats(0, 1))


@given(WEIGHTS, WEIGHTS)
def test_a_difference_lies_between_the_same_and_nothing_in_common(
    a: dict[str, float], b: dict[str, float]
) -> None:
    assert 0.0 <= difference(a, b) <= 1.0
    assert difference(a, b) == difference(b, a)
    assert difference(a, a) == 0.0


def test_other_requests_are_answered_on_their_lane_by_the_version_that_serves(
    store: ObjectStore, asked: Message
) -> None:
    message = replace(asked, topic=AGAIN.topic, lane="learning")

    (answered,) = events(store, message, loaded("v@2", "dog", 0.6))

    assert (answered.topic, answered.key) == (AGAIN.into, asked.key)
    assert answered.value["found"]["labels"][0]["name"] == "cat"
    assert answered.value["model_version"] == "v@1"
    assert answered.value["ms"] > 0
    lanes = {lane.name: lane.topics for lane in STAGE.lanes}
    assert lanes["learning"] == ("photo.analysis-requested.learning.v1", AGAIN.topic)
    assert lanes["batch"] == ("photo.analysis-requested.batch.v1",)
    assert set(STAGE.writes) >= {AGAIN.into, "photo.model-compared.v1"}


def test_giving_up_another_request_answers_it_and_ends_no_analysis(
    store: ObjectStore, asked: Message
) -> None:
    message = replace(asked, topic=AGAIN.topic, lane="learning")
    stage = handlers(STAGE, Servings.of(loaded("v@1", "cat", 0.8)), store)

    (answered,) = stage.give_up(message, Failure("engine_failed", "It could not.", attempts=4))
    (failed,) = stage.give_up(asked, Failure("engine_failed", "It could not.", attempts=4))

    assert (answered.topic, answered.value["found"]) == (AGAIN.into, "It could not.")
    assert failed.topic == "photo.stage-failed.v1"

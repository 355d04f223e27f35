"""People's answers become a calibration: the real broker, registry and api door."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from catalog_seed import Seed, picture
from colour_labeller import COLOURS, Colours
from darkroom_cli.contracts import Subjects, Topics
from darkroom_schemas import avro, catalogue
from darkroom_schemas.names import REVIEW_ANSWERED
from detector.calibrate import DOUBTFUL, Command, calibrate
from detector.calibrate_examples import CalibrateError
from detector.calibrate_reviews import AnswerTopic
from detector.calibration import calibration_of
from gateway.settings import Settings
from infrastructure import Infrastructure
from streamkit import Codec, RawRecord, SchemaIds
from streamkit.kafka.producer import KafkaProducer

START = datetime(2026, 11, 29, tzinfo=UTC)


class Reviewers:
    """People who answer, on topics of the test's own."""

    def __init__(self, infrastructure: Infrastructure, prefix: str, cache: Path) -> None:
        declared = catalogue.load()
        only = replace(declared, topics={REVIEW_ANSWERED: declared[REVIEW_ANSWERED]})
        assert all(one.good for one in Topics(infrastructure.kafka, only, prefix).apply())
        assert all(one.good for one in Subjects(infrastructure.registry, only, prefix).apply())
        ids = SchemaIds(infrastructure.registry, cache)
        self._codec = Codec(ids, avro.schema_of, prefix)
        self._producer = KafkaProducer(infrastructure.kafka, "reviewers", prefix=prefix)
        self._sent = 0

    def answer(self, event: Mapping[str, Any], **changes: Any) -> None:
        """One answer, later than those before."""
        at = START + timedelta(seconds=self._sent)
        value = {**event, "answer_id": str(uuid4()), "answered_at": at, **changes}
        self.send(value["photo_id"], self._codec.encode(REVIEW_ANSWERED, value))

    def send(self, key: str, value: bytes | None) -> None:
        """Publish, and wait until it is there."""
        self._producer.send(self._sent, [RawRecord(REVIEW_ANSWERED, key.encode(), value, [])])
        self._sent += 1
        (delivery,) = self._producer.poll(20)
        assert delivery.error is None


@pytest.fixture
def reviewers(infrastructure: Infrastructure, settings: Settings, tmp_path: Path) -> Reviewers:
    return Reviewers(infrastructure, settings.topic_prefix, tmp_path / "schemas")


def command(infrastructure: Infrastructure, settings: Settings, *flags: str) -> Command:
    places = (f"--kafka={infrastructure.kafka}", f"--registry={infrastructure.registry}")
    own = (f"--topic-prefix={settings.topic_prefix}", f"--cache={settings.cache}")
    return Command.from_command_line("calibrate", [*places, *own, *flags])


def test_a_calibration_is_fitted_to_what_people_answered(
    infrastructure: Infrastructure,
    settings: Settings,
    door: str,
    seed: Seed,
    reviewers: Reviewers,
    example: Any,
    tmp_path: Path,
) -> None:
    event = example(REVIEW_ANSWERED)
    for n in range(12):
        name = tuple(COLOURS)[n % 3]
        shade = tuple(max(0, part - n) for part in COLOURS[name])
        photo = seed.requested(f"{n}.jpg", picture(f"rgb{shade}"))
        reviewers.answer(event, photo_id=photo.photo_id, answer="confirm", label="red")
        if n % 4:  # most are corrected to what they look like
            reviewers.answer(event, photo_id=photo.photo_id, answer="correct", label=name)
        reviewers.answer(event, photo_id=photo.photo_id, answer="skip", label=None)
    strange = seed.requested("cat.jpg", picture("#123456"))
    reviewers.answer(event, photo_id=strange.photo_id, answer="correct", label="my cat")
    reviewers.answer(event, photo_id=str(uuid4()), answer="none", label=None)
    reviewers.send("junk", b"junk")

    said: list[str] = []
    flags = (f"--reviews={door}", f"--json={tmp_path / 'c.json'}")
    asked = command(infrastructure, settings, *flags)
    code = calibrate(asked, lambda _: Colours(), said.append, lambda *_: None)

    assert code == DOUBTFUL
    written = calibration_of(str(tmp_path / "c.json"))
    assert (written.n, written.source, written.model_version) == (12, "reviews", "colours@1")
    text = "\n".join(said)
    assert "answers      36, of them 12 skips and 1 unreadable; about 14 photos" in text
    assert "1 photos: 'my cat' is no label of this model." in text
    assert "The gateway has no rendition of it." in text
    assert written.temperature > 1.5


def test_a_gateway_that_is_not_there_is_told_with_the_cure(
    infrastructure: Infrastructure,
    settings: Settings,
    reviewers: Reviewers,
    example: Any,
) -> None:
    reviewers.answer(example(REVIEW_ANSWERED), label="red")
    asked = command(infrastructure, settings, "--reviews=http://127.0.0.1:9")
    with pytest.raises(CalibrateError, match=r"127\.0\.0\.1:9/? does not answer.*api door"):
        calibrate(asked, lambda _: Colours(), lambda _: None, lambda *_: None)


def test_a_topic_that_does_not_exist_is_told_with_the_cure(
    infrastructure: Infrastructure, settings: Settings, codec: Codec
) -> None:
    topic = AnswerTopic(command(infrastructure, settings), codec)
    with pytest.raises(CalibrateError, match=r"answered\.v1 at .* can't be read.*topics apply"):
        topic.read(patience_s=1.0)

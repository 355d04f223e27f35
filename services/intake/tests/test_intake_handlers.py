"""What intake makes of a submission, without Kafka."""

import io
from collections.abc import Callable, Sequence
from typing import Any, cast
from uuid import UUID, uuid5

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from PIL import Image

from darkroom_schemas.avro import schema_of
from darkroom_schemas.ids import LOCAL_OWNER
from imaging import ImageRejected, RejectionCode
from imaging.render import Prepared, prepare
from intake.app import WRITES, handlers_with, job
from intake.settings import Settings
from streamkit import Emit, Failure, Handlers, Message, Reject, Retry

OWN_STORE = "file:///objects"
Submitted = Callable[..., Message]


def settings(**given: Any) -> Settings:
    return Settings.model_validate({"objects": OWN_STORE, **given})


class InPlace:
    """Decodes in this process, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def prepare(self, data: bytes, *, keep_gps: bool = False) -> Prepared:
        self.calls += 1
        if b"CRASH" in data:
            raise ImageRejected(RejectionCode.DECODE_CRASHED, "The decoder crashed.")
        return prepare(data, keep_gps=keep_gps)


@pytest.fixture
def decoder() -> InPlace:
    return InPlace()


@pytest.fixture
def intake(store: Any, decoder: InPlace) -> Handlers:
    return handlers_with(settings(), store, decoder, lambda: None)


def handled(intake: Handlers, message: Message) -> Emit:
    handle = cast("Callable[[Message], Sequence[Emit]]", intake.by_topic[message.topic])
    (emit,) = handle(message)
    return emit


def through_avro(emit: Emit) -> dict[str, Any]:
    """The value as a reader of the topic gets it; fails if it does not fit the schema."""
    schema = parse_schema(schema_of(emit.topic))
    file = io.BytesIO()
    schemaless_writer(file, schema, emit.value, strict=True)
    file.seek(0)
    value = schemaless_reader(file, schema, None)
    assert isinstance(value, dict)
    return value


def encoded(size: tuple[int, int], kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (10, 120, 60)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("lane", ["high", "default", "batch", "learning"])
def test_a_photo_becomes_one_request_in_its_own_lane(
    intake: Handlers, submitted: Submitted, photo: bytes, lane: str
) -> None:
    message = submitted(photo, lane=lane)
    emit = handled(intake, message)
    assert emit.topic == f"photo.analysis-requested.{lane}.v1"
    assert emit.key == message.value["photo_id"]
    value = through_avro(emit)
    assert (value["lane"], value["width"], value["height"]) == (lane, 40, 30)
    assert (value["media_type"], value["orientation"], value["frames"]) == ("image/jpeg", 1, 1)
    assert value["byte_size"] == len(photo)
    assert value["submitted_at"] == message.value["submitted_at"]


def test_what_a_submitter_leaves_out_is_derived(
    intake: Handlers, submitted: Submitted, photo: bytes
) -> None:
    message = submitted(photo)
    value = handled(intake, message).value
    expected = uuid5(UUID(message.value["photo_id"]), "holiday-17")
    assert value["analysis_id"] == str(expected)
    assert (value["revision"], value["policy_revision"]) == (1, 1)


def test_what_a_submitter_gives_is_kept(
    intake: Handlers, submitted: Submitted, photo: bytes
) -> None:
    analysis = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
    message = submitted(photo, analysis_id=analysis, revision=3, policy_revision=5)
    value = handled(intake, message).value
    assert (value["analysis_id"], value["revision"], value["policy_revision"]) == (analysis, 3, 5)


def test_a_name_without_end_is_cut(intake: Handlers, submitted: Submitted, photo: bytes) -> None:
    emit = handled(intake, submitted(photo, file_name="n" * 1_000_000))
    assert emit.value["file_name"] == "n" * 1000


def test_the_lane_is_that_of_the_topic_whatever_the_record_says(
    intake: Handlers, submitted: Submitted, photo: bytes
) -> None:
    message = submitted(photo, lane="batch")
    lying = dict(message.value, lane="high")
    emit = handled(intake, Message(message.topic, "batch", message.key, lying, {}, 0, 0, 0))
    assert emit.topic == "photo.analysis-requested.batch.v1"
    assert emit.value["lane"] == "batch"


def test_a_photo_that_needs_no_rendition_is_its_own(
    intake: Handlers, submitted: Submitted, photo: bytes, store: Any
) -> None:
    value = handled(intake, submitted(photo)).value
    assert value["rendition_uri"] == value["source_uri"]
    sha256 = value["sha256"]
    assert value["thumbnail_uri"] == f"{OWN_STORE}/thumbnails/{sha256[:2]}/{sha256}.jpg"
    assert Image.open(io.BytesIO(store.objects[value["thumbnail_uri"]])).size == (40, 30)
    assert len(store.objects) == 2


def test_any_other_photo_gets_a_rendition_named_by_its_content(
    intake: Handlers, submitted: Submitted, store: Any
) -> None:
    value = handled(intake, submitted(encoded((3000, 1500), "PNG"))).value
    sha256 = value["sha256"]
    assert value["rendition_uri"] == f"{OWN_STORE}/renditions/{sha256[:2]}/{sha256}.jpg"
    assert (value["rendition_width"], value["rendition_height"]) == (2048, 1024)
    assert (value["width"], value["height"]) == (3000, 1500)
    assert Image.open(io.BytesIO(store.objects[value["rendition_uri"]])).size == (2048, 1024)


def test_the_rendition_of_a_photo_in_a_foreign_store_is_a_copy_in_ours(
    intake: Handlers, submitted: Submitted, photo: bytes, store: Any
) -> None:
    value = handled(intake, submitted(photo, source_uri="file:///nas/beach.jpg")).value
    assert value["source_uri"] == "file:///nas/beach.jpg"
    assert value["rendition_uri"].startswith(f"{OWN_STORE}/renditions/")
    assert store.objects[value["rendition_uri"]] == photo


def test_repeating_a_submission_repeats_the_event_and_stores_nothing_new(
    intake: Handlers, submitted: Submitted, store: Any
) -> None:
    message = submitted(encoded((100, 100), "PNG"))
    first = handled(intake, message)
    before = dict(store.objects)
    second = handled(intake, message)
    assert first.id == second.id
    volatile = ("intake_ms", "requested_at")
    kept = [{k: v for k, v in e.value.items() if k not in volatile} for e in (first, second)]
    assert kept[0] == kept[1]
    assert store.objects == before


def test_each_revision_is_a_fact_of_its_own(
    intake: Handlers, submitted: Submitted, photo: bytes
) -> None:
    ids = {handled(intake, submitted(photo, revision=n)).id for n in (1, 2)}
    ids.add(handled(intake, submitted(photo, submission_id="another")).id)
    assert len(ids) == 3


def test_time_and_camera_are_kept_and_the_place_only_if_the_setting_allows(
    submitted: Submitted, store: Any, decoder: InPlace
) -> None:
    exif = Image.Exif()
    exif[271] = "Lumen"
    exif[34665] = {36867: "2019:07:21 18:05:09"}
    exif[34853] = {1: "N", 2: (48.0, 8.0, 0.0), 3: "E", 4: (11.0, 30.0, 0.0)}
    message = submitted(encoded((64, 48), "JPEG", exif=exif))
    silent = through_avro(handled(handlers_with(settings(), store, decoder, lambda: None), message))
    assert (silent["taken_at"], silent["camera_make"]) == ("2019-07-21T18:05:09", "Lumen")
    assert (silent["latitude"], silent["longitude"]) == (None, None)
    keeping = handlers_with(settings(intake_keep_gps=True), store, decoder, lambda: None)
    kept = through_avro(handled(keeping, message))
    assert kept["latitude"] == pytest.approx(48.1333333)
    assert kept["longitude"] == 11.5


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"a shopping list", "not_an_image"),
        (encoded((64, 48), "JPEG")[:-30], "image_truncated"),
        (encoded((64, 48), "JPEG", comment=b"CRASH"), "decode_crashed"),
    ],
)
def test_a_bad_file_is_rejected_in_words_and_leaves_nothing_behind(
    intake: Handlers, submitted: Submitted, store: Any, data: bytes, code: str
) -> None:
    message = submitted(data, lane="batch")
    emit = handled(intake, message)
    assert emit.topic == "photo.rejected.v1"
    assert emit.key == message.value["photo_id"]
    value = through_avro(emit)
    assert value["code"] == code
    assert value["message"].endswith(".")
    assert (value["lane"], value["file_name"]) == ("batch", "beach.jpg")
    assert list(store.objects) == [message.value["source_uri"]]
    assert handled(intake, message).id == emit.id


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"key": "another-key"}, "key_mismatch"),
        ({"submission_id": ""}, "bad_submission_id"),
        ({"submission_id": "x" * 201}, "bad_submission_id"),
        ({"revision": 0}, "bad_revision"),
        ({"policy_revision": -1}, "bad_revision"),
        ({"sha256": "ABC"}, "bad_sha256"),
        ({"owner": "me"}, "bad_owner"),
        ({"photo_id": str(uuid5(UUID(LOCAL_OWNER), "another"))}, "photo_id_mismatch"),
        ({"owner": "7d444840-9dc0-11d1-b245-5ffdce74fad2"}, "photo_id_mismatch"),
    ],
)
def test_ids_that_do_not_follow_are_rejected_before_anything_is_fetched(
    intake: Handlers, submitted: Submitted, store: Any, fields: dict[str, Any], code: str
) -> None:
    emit = handled(intake, submitted(encoded((8, 8), "PNG"), **fields))
    assert emit.topic == "photo.rejected.v1"
    assert through_avro(emit)["code"] == code
    assert store.fetched == 0


def test_bytes_that_are_not_those_handed_in_are_rejected_and_not_decoded(
    intake: Handlers, submitted: Submitted, store: Any, photo: bytes, decoder: InPlace
) -> None:
    message = submitted(photo)
    store.objects[message.value["source_uri"]] = photo + b"changed"
    assert handled(intake, message).value["code"] == "sha256_mismatch"
    assert decoder.calls == 0


@pytest.mark.parametrize("code", ["object_missing", "outside_stores", "object_too_large"])
def test_what_the_store_refuses_for_good_is_rejected_with_its_reason(
    intake: Handlers, submitted: Submitted, store: Any, photo: bytes, code: str
) -> None:
    store.troubles = [Reject(code, "A reason in words.")]
    value = handled(intake, submitted(photo)).value
    assert (value["code"], value["message"]) == (code, "A reason in words.")


def test_trouble_with_the_store_is_left_to_the_worker(
    intake: Handlers, submitted: Submitted, store: Any, photo: bytes, broken_disk: Retry
) -> None:
    store.troubles = [broken_disk]
    with pytest.raises(Retry):
        handled(intake, submitted(photo))


@pytest.mark.parametrize(
    "fields", [{"photo_id": "17"}, {"analysis_id": "17"}, {"photo_id": LOCAL_OWNER.upper()}]
)
def test_a_record_that_names_no_analysis_is_left_to_the_dead_letters(
    intake: Handlers, submitted: Submitted, photo: bytes, fields: dict[str, Any]
) -> None:
    message = submitted(photo, **fields)
    with pytest.raises(Reject) as refused:
        handled(intake, message)
    failure = Failure(refused.value.code, refused.value.message, 1)
    assert intake.give_up(message, failure) == ()


def test_a_submission_that_is_given_up_still_ends_and_shows_no_internals(
    intake: Handlers, submitted: Submitted, photo: bytes, broken_disk: Retry
) -> None:
    emits: Sequence[Emit] = intake.give_up(
        submitted(photo), Failure("gave_up", str(broken_disk), 5)
    )
    (emit,) = emits
    value = through_avro(emit)
    assert (emit.topic, value["code"]) == ("photo.rejected.v1", "gave_up")
    assert "5 attempts" in value["message"]
    assert "/secret/path" not in value["message"]


def test_the_job_reads_the_lanes_in_order_and_declares_all_that_it_writes(intake: Handlers) -> None:
    wired = job(settings())
    assert [lane.name for lane in wired.lanes] == ["high", "default", "batch", "learning"]
    assert set(intake.by_topic) == {topic for lane in wired.lanes for topic in lane.topics}
    assert wired.dead_letters == "darkroom.intake.dlq"
    assert len(WRITES) == 5

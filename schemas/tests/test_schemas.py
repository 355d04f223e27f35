import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from uuid import UUID, uuid5

import fastavro
import pytest

from darkroom_schemas import avro, catalogue, events, ids, names

SCHEMAS = Path(__file__).parents[1]


def test_the_generated_modules_are_what_the_schemas_say() -> None:
    check = [sys.executable, str(SCHEMAS / "generate.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", avro.names())
def test_every_schema_parses_and_explains_itself(name: str) -> None:
    schema = avro.schema(name)
    fastavro.parse_schema(schema)
    assert schema["doc"]
    assert all(field["doc"] for field in schema["fields"])
    assert hasattr(events, schema["name"])


@pytest.mark.parametrize("name", avro.names())
def test_no_schema_uses_an_enum_since_new_symbols_would_break_old_readers(name: str) -> None:
    assert '"enum"' not in (SCHEMAS / f"{name}.avsc").read_text(encoding="utf-8")


def test_every_topic_names_a_schema_that_exists() -> None:
    for topic in catalogue.load().with_schema():
        assert topic.schema in avro.names()


def test_the_wheel_has_every_schema() -> None:
    project = tomllib.loads((SCHEMAS / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    data = {"topics.yaml", *(f"{name}.avsc" for name in avro.names())}
    assert included == {name: f"darkroom_schemas/data/{name}" for name in data}


def test_every_schema_has_a_topic_and_an_example() -> None:
    used = {topic.schema for topic in catalogue.load().with_schema()}
    assert used == set(avro.names())
    assert {path.stem for path in (SCHEMAS / "examples").glob("*.json")} == used


@pytest.mark.parametrize("name", avro.names())
def test_every_example_survives_a_round_trip(name: str) -> None:
    schema = fastavro.parse_schema(avro.schema(name))
    example = json.loads((SCHEMAS / "examples" / f"{name}.json").read_text(encoding="utf-8"))
    value = next(iter(fastavro.json_reader(io.StringIO(json.dumps(example)), schema)))
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, value, strict=True)
    buffer.seek(0)
    assert fastavro.schemaless_reader(buffer, schema) == value


def test_joined_topics_have_equal_partition_counts() -> None:
    counts: dict[str, set[int]] = {}
    for topic in catalogue.load():
        if topic.group is not None:
            counts.setdefault(topic.group, set()).add(topic.partitions)
    assert all(len(of_group) == 1 for of_group in counts.values())


def test_lanes_are_spelled_out_into_topics_of_their_own() -> None:
    topics = catalogue.load()
    assert set(names.PHOTO_SUBMITTED) == set(topics.lanes) == set(names.LANES)
    assert all(topics[name].lane == lane for lane, name in names.PHOTO_SUBMITTED.items())


def test_an_undeclared_topic_is_refused() -> None:
    with pytest.raises(catalogue.UnknownTopicError, match=r"not declared in topics\.yaml"):
        catalogue.load()["photo.guessed.v1"]


def test_request_topics_are_kept_for_two_weeks() -> None:
    for name in (*names.PHOTO_SUBMITTED.values(), *names.PHOTO_ANALYSIS_REQUESTED.values()):
        retention = catalogue.load()[name].retention_ms
        assert retention is not None
        assert retention >= 14 * 86_400_000


def test_a_dead_letter_has_room_for_the_largest_record_and_its_reason() -> None:
    letters = catalogue.load()[catalogue.load().dead_letters("intake")]
    assert int(letters.config()["max.message.bytes"]) == 2 * 1024 * 1024
    assert "max.message.bytes" not in catalogue.load()[names.PHOTO_REJECTED].config()


def test_the_id_of_a_photo_is_the_uuid5_that_anyone_can_compute() -> None:
    owner, sha256 = ids.LOCAL_OWNER, "ab" * 32
    photo = ids.photo_id(owner, sha256)
    assert photo == str(uuid5(UUID(owner), sha256))
    assert ids.analysis_id(photo, "s") == str(uuid5(UUID(photo), "s"))


def test_the_local_owner_never_changes() -> None:
    assert ids.LOCAL_OWNER == "723b3ef1-c51a-5816-b746-5af17467f4bb"


def test_facts_of_different_revisions_have_different_ids() -> None:
    analysis = ids.analysis_id(ids.photo_id(ids.LOCAL_OWNER, "00" * 32), "s")
    assert ids.event_id(analysis, "outcome", 1) != ids.event_id(analysis, "outcome", 2)


def test_indices_are_counted_in_chunks_of_4096() -> None:
    assert (ids.chunk_of(4095), ids.chunk_of(4096)) == (0, 1)
    assert ids.chunk_key("b", 1) == "b/1"


def test_a_service_has_a_retry_topic_for_each_tier_and_class() -> None:
    topics = catalogue.load(())
    of_ocr = [topic.name for topic in topics if topic.name.startswith("darkroom.ocr.retry-")]
    assert of_ocr == [
        f"darkroom.ocr.retry-{tier}.{name}" for tier in topics.tiers for name in ("high", "bulk")
    ]
    assert topics.tiers == ("5s", "30s", "5m")


def test_the_variable_changes_the_retry_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_RETRY_TIERS", "10s, 1m")
    topics = catalogue.load()
    assert topics.tiers == ("10s", "1m")
    assert topics["darkroom.ocr.retry-1m.high"].partitions == 2
    assert "darkroom.ocr.retry-5s.high" not in topics.topics


def test_an_empty_variable_leaves_the_retry_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_RETRY_TIERS", "")
    assert catalogue.load().tiers == ("5s", "30s", "5m")


def test_a_wrong_retry_tier_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_RETRY_TIERS", "5s,soon")
    with pytest.raises(ValueError, match="'soon' is no retry tier"):
        catalogue.load()


def test_retry_topics_keep_the_brokers_time_and_others_their_producers() -> None:
    topics = catalogue.load(())
    retry = topics["darkroom.gateway.retry-5s.bulk"].config()
    assert retry["message.timestamp.type"] == "LogAppendTime"
    assert retry["max.message.bytes"] == str(2 * 1024 * 1024)
    assert "message.timestamp.type" not in topics[names.PHOTO_REJECTED].config()


def test_what_operators_set_is_kept_for_ever() -> None:
    control = catalogue.load()[names.OPS_CONTROL]
    assert control.config() == {"cleanup.policy": "compact"}
    assert (control.partitions, control.key) == (1, "target")


def test_a_group_of_topics_has_more_partitions_where_a_deployment_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(catalogue.PARTITIONS_VARIABLE, "photo=12, model.reported.v1=2")
    topics = catalogue.load()
    assert {topic.partitions for topic in topics if topic.group == "photo"} == {12}
    assert topics["darkroom-aggregator-analyses-changelog"].partitions == 12
    assert topics["model.reported.v1"].partitions == 2
    assert {topic.partitions for topic in topics if topic.group == "chunk"} == {4}


@pytest.mark.parametrize("word", ["photo", "photo=0", "photo=x", "dreams=3", "photo.rejected.v1=9"])
def test_partitions_that_can_not_be_meant_are_refused(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(catalogue.PARTITIONS_VARIABLE, word)
    with pytest.raises(ValueError, match="DARKROOM_TOPIC_PARTITIONS: write"):
        catalogue.load()


def test_partitions_do_not_become_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalogue.PARTITIONS_VARIABLE, "photo=2")
    with pytest.raises(ValueError, match="fewer"):
        catalogue.load()


def test_a_deployment_keeps_topics_for_longer_or_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        catalogue.RETENTION_VARIABLE, "photo.*=21d, photo.text-read.v1=7d, darkroom.*.dlq=60d"
    )
    topics = catalogue.load()
    day = 86_400_000
    assert topics[names.PHOTO_SUBMITTED["high"]].retention_ms == 21 * day
    assert topics[names.PHOTO_TEXT_READ].retention_ms == 7 * day
    assert topics["darkroom.ocr.dlq"].retention_ms == 60 * day
    assert topics["darkroom.ocr.retry-5s.high"].retention_ms == 14 * day


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("photo.submitted.*=13d", "photo.submitted.high.v1 needs 14d"),
        ("photo.text-read.v1=6d", "needs 7d"),
        ("*.dlq=29d", "needs 30d"),
        ("review.*=365d", "needs 3650d"),
        ("dreams=30d", "write topics"),
        ("photo.*=2w", "write topics"),
        ("photo.*", "write topics"),
    ],
)
def test_what_would_be_lost_too_soon_is_refused(
    word: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(catalogue.RETENTION_VARIABLE, word)
    with pytest.raises(ValueError, match=reason):
        catalogue.load()


def test_compacted_topics_are_kept_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalogue.RETENTION_VARIABLE, "*=4000d")
    assert catalogue.load()[names.OPS_CONTROL].config() == {"cleanup.policy": "compact"}

"""Settings, and what becomes of them: folds on Faust."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from aggregator.app import application
from aggregator.handlers import PRODUCED, Rules, folds, routes
from aggregator.routing import Policy, Thresholds
from aggregator.settings import Settings
from darkroom_schemas import catalogue, names
from streamkit import Codec
from streamkit.faust.app import build


def test_the_policy_comes_from_the_settings() -> None:
    settings = Settings.model_validate(
        {
            "policy_auto_above": 0.9,
            "policy_review_below": 0.4,
            "policy_labels": {"cat": (0.7, 0.6)},
        }
    )
    wanted = Policy(Thresholds(0.9, 0.4), {"cat": Thresholds(0.7, 0.6)})
    assert settings.policy() == wanted


@pytest.mark.parametrize(
    "wrong",
    [
        {"policy_auto_above": 0.4, "policy_review_below": 0.5},
        {"policy_auto_above": 1.1},
        {"policy_labels": {"cat": (0.1, 0.9)}},
    ],
)
def test_thresholds_that_contradict_each_other_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


async def test_tables_topics_and_partitions_are_those_of_the_catalogue(tmp_path: Path) -> None:
    settings = Settings.model_validate({"topic_prefix": "t."})
    codec = Codec(None, dict, "t.")  # type: ignore[arg-type]
    app = build(application(settings, Rules().policy_of), codec, tmp_path).app
    declared = catalogue.load()
    assert app.conf.id == "t.darkroom-aggregator"
    for table in app.tables.values():
        topic = declared[table.changelog_topic_name.removeprefix("t.")]
        assert "aggregator" in topic.producers
        assert table.partitions == topic.partitions


def test_the_instance_and_how_much_is_worked_on_at_a_time_are_settings() -> None:
    app = application(
        Settings.model_validate({"aggregator_instance": "second", "aggregator_in_flight": 7}),
        Rules().policy_of,
    )
    assert (app.instance, app.most) == ("second", 7)


def test_every_topic_that_it_reads_or_writes_is_declared_as_its_own() -> None:
    declared = catalogue.load()
    for topic in routes(Rules()):
        assert "aggregator" in declared[topic].consumers
    for topic in PRODUCED:
        assert "aggregator" in declared[topic].producers
    read = {topic.name for topic in declared if "aggregator" in topic.consumers}
    folded = {name for name in read if not name.endswith("-changelog")} - {names.OPS_POLICY}
    assert folded == set(routes(Rules()))


def test_what_is_joined_in_one_table_has_equal_partitions() -> None:
    declared = catalogue.load()
    for topic, route in routes(Rules()).items():
        changelog = declared[f"darkroom-aggregator-{route.table}-changelog"]
        assert declared[topic].partitions == changelog.partitions
        assert declared[topic].group == changelog.group


def test_each_topic_is_folded_once() -> None:
    folded = [topic for fold in folds(Rules()) for topic in fold.topics]
    assert sorted(folded) == sorted(routes(Rules()))

"""Settings, and how they become Faust's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from aggregator.app import Aggregator, Tenure, build, faust_settings
from aggregator.consuming import KeepingFlow, PromptTransport
from aggregator.handlers import PRODUCED, routes
from aggregator.routing import Policy, Thresholds
from aggregator.settings import Settings
from darkroom_schemas import catalogue
from streamkit import Codec


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


def test_the_topic_prefix_goes_before_group_and_changelogs(tmp_path: Path) -> None:
    settings = faust_settings(Settings.model_validate({"topic_prefix": "t."}), tmp_path)
    assert settings["id"] == "t.darkroom-aggregator"


@pytest.mark.parametrize(
    ("started", "state", "stuck", "lacking"),
    [
        (True, {}, False, []),
        (False, {}, False, ["partitions and tables"]),
        (True, {"rebalancing": True}, False, ["partitions and tables"]),
        (True, {"in_recovery": True}, False, ["partitions and tables"]),
        (True, {}, True, ["acknowledgements of the broker"]),
    ],
)
def test_it_is_ready_with_its_partitions_its_tables_and_a_broker_that_acknowledges(
    started: bool, state: dict[str, bool], stuck: bool, lacking: list[str]
) -> None:
    app: Any = SimpleNamespace(**{"rebalancing": False, "in_recovery": False, **state})
    delivery: Any = SimpleNamespace(stuck=stuck)
    assert Aggregator(app, {"photos": delivery}).waiting_for(started) == lacking


def test_a_term_ends_with_a_rebalance_a_clearing_of_the_queues_or_a_recovery() -> None:
    app: Any = SimpleNamespace(rebalancing_count=1, in_recovery=False)
    tenure = Tenure(app, KeepingFlow())
    before = tenure.term()
    assert tenure.holds(before)
    app.rebalancing_count += 1
    between = tenure.term()
    assert not tenure.holds(before)
    tenure.flow.clear()
    assert not tenure.holds(between)
    after = tenure.term()
    assert tenure.holds(after)
    app.in_recovery = True
    assert not tenure.holds(after)


async def test_the_app_keeps_what_is_fetched_and_fetches_promptly(tmp_path: Path) -> None:
    codec = Codec(None, dict)  # type: ignore[arg-type]
    app = build(Settings.model_validate({}), codec, tmp_path).app
    assert isinstance(app.flow_control, KeepingFlow)
    assert isinstance(app.transport, PromptTransport)


async def test_tables_topics_and_partitions_are_those_of_the_catalogue(tmp_path: Path) -> None:
    settings = Settings.model_validate({"topic_prefix": "t."})
    codec = Codec(None, dict, "t.")  # type: ignore[arg-type]
    app = build(settings, codec, tmp_path).app
    declared = catalogue.load()
    for table in app.tables.values():
        topic = declared[table.changelog_topic_name.removeprefix("t.")]
        assert "aggregator" in topic.producers
        assert table.partitions == topic.partitions
    assert app.conf.topic_allow_declare is False


def test_every_topic_that_it_reads_or_writes_is_declared_as_its_own() -> None:
    declared = catalogue.load()
    for topic in routes(Policy()):
        assert "aggregator" in declared[topic].consumers
    for topic in PRODUCED:
        assert "aggregator" in declared[topic].producers
    read = {topic.name for topic in declared if "aggregator" in topic.consumers}
    assert {name for name in read if not name.endswith("-changelog")} == set(routes(Policy()))


def test_what_is_joined_in_one_table_has_equal_partitions() -> None:
    declared = catalogue.load()
    for topic, route in routes(Policy()).items():
        changelog = declared[f"darkroom-aggregator-{route.table}-changelog"]
        assert declared[topic].partitions == changelog.partitions
        assert declared[topic].group == changelog.group

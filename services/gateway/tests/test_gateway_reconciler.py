"""When something counts as missed: looks, paths, suspects, deadlines. No I/O."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from darkroom_schemas import catalogue
from gateway.catalog.reconcile import Waiting
from gateway.control import paths
from gateway.control.lag import Hop, Look, settled
from gateway.control.reconcile import lacking
from gateway.control.repairing import Limits
from gateway.control.suspects import MOST_TRIES, Finding, Suspects

ASKED = Hop("worker", ("asked",))
RETRIED = Hop("worker.retry", ("retry",))
ANSWERED = Hop("reader", ("answered",))
PATH = (ASKED, RETRIED, ANSWERED)


def look(**reached: tuple[int, int]) -> Look:
    """What groups have committed of one partition, and where it ends; by topic."""
    hops = {hop.topics[0]: hop.group for hop in PATH}
    return Look(
        {hops[topic]: {(topic, 0): committed} for topic, (committed, _) in reached.items()},
        dict.fromkeys([(topic, 0) for topic in reached], 0),
        {(topic, 0): end for topic, (_, end) in reached.items()},
    )


def test_where_nobody_is_behind_one_look_is_enough() -> None:
    assert settled([look(asked=(5, 5), retry=(2, 2), answered=(9, 9))], PATH) == 0


def test_a_record_that_went_on_to_a_retry_is_waited_for() -> None:
    looks = [look(asked=(4, 5), retry=(0, 0), answered=(9, 9))]
    assert settled(looks, PATH) is None
    looks.append(look(asked=(5, 5), retry=(0, 1), answered=(9, 9)))
    assert settled(looks, PATH) is None, "it waits for its next attempt"
    looks.append(look(asked=(5, 6), retry=(1, 1), answered=(9, 10)))
    assert settled(looks, PATH) is None, "the answer is not recorded"
    looks.append(look(asked=(5, 7), retry=(1, 1), answered=(10, 12)))
    assert settled(looks, PATH) == 1, "what came later is still under way"


def test_a_group_that_is_always_a_little_behind_settles_all_the_same() -> None:
    looks = [look(asked=(n, n + 3), retry=(0, 0), answered=(n, n + 3)) for n in range(0, 30, 3)]
    assert settled(looks, PATH) == len(looks) - 3


def test_what_retention_deleted_is_waited_for_by_nobody() -> None:
    old = look(asked=(0, 5), retry=(0, 0), answered=(0, 0))
    now = replace(old, starts={**old.starts, ("asked", 0): 5})
    assert settled([old], PATH) is None
    assert settled([old, now], PATH) == 1


def test_every_partition_counts() -> None:
    one = look(asked=(5, 5), retry=(0, 0), answered=(0, 0))
    two = replace(one, ends={**one.ends, ("asked", 1): 1})
    assert settled([one, two], PATH) == 0


# --- suspects --------------------------------------------------------------------------------


def finding(subject: str = "a", **changes: Any) -> Finding:
    return Finding("outcomes", subject, PATH)._replace(**changes)


def test_a_finding_is_missed_once_a_look_that_was_made_after_it_is_settled() -> None:
    suspects = Suspects()
    suspects.found([finding()], next_look=4)

    assert list(suspects.missed(3, lambda _path: 3)) == []
    assert list(suspects.missed(7, lambda _path: 3)) == []
    assert list(suspects.missed(7, lambda _path: 4)) == [finding()]


def test_a_finding_that_goes_and_comes_again_is_a_new_one() -> None:
    suspects = Suspects()
    suspects.found([finding()], next_look=1)
    suspects.found([], next_look=2)
    assert not suspects
    suspects.found([finding()], next_look=3)

    assert list(suspects.missed(2, lambda _path: 2)) == []


def test_a_finding_that_is_not_late_yet_waits_and_keeps_its_place() -> None:
    suspects = Suspects()
    suspects.found([finding(late=False)], next_look=1)
    assert list(suspects.missed(5, lambda _path: 5)) == []
    suspects.found([finding(late=True)], next_look=6)
    assert list(suspects.missed(5, lambda _path: 1)) == [finding()]


def test_repairs_of_one_finding_wait_longer_each_time_and_come_to_an_end() -> None:
    suspects = Suspects()
    repaired = []
    for number in range(1, 200):
        suspects.found([finding()], number + 1)
        for missed in suspects.missed(number, lambda _path, at=number: at):  # type: ignore[misc]
            suspects.repaired(missed, number + 1)
            repaired.append(number)

    waits = [later - sooner for sooner, later in pairwise(repaired)]
    assert len(repaired) == MOST_TRIES
    assert waits == [1, 3, 7, 15, 31]


def test_the_next_look_is_about_the_paths_of_what_waits() -> None:
    suspects = Suspects()
    suspects.found([finding(), finding("b", path=(ASKED,))], next_look=1)
    assert suspects.hops() == set(PATH)


# --- what an analysis lacks ------------------------------------------------------------------

LIMITS = Limits(grace_s=120, deadline_s=900)


def waiting(**changes: Any) -> Waiting:
    known: Mapping[str, Any] = {
        **{"analysis_id": "a", "photo_id": "p", "owner": "o", "revision": 1},
        **{"policy_revision": 1, "lane": "batch", "submitted_s": 1000.0, "requested_s": 950.0},
        **{"quiet_s": 300.0, "parts": frozenset(), "failed": frozenset()},
    }
    return Waiting(**{**known, **changes})


def lacks(**changes: Any) -> list[tuple[str, str, bool]]:
    return [(one.what, one.detail, one.late) for one in lacking(waiting(**changes), LIMITS)]


def test_with_all_stages_an_outcome_is_lacking() -> None:
    done = {"parts": frozenset({"detector", "ocr"}), "failed": frozenset({"embedder"})}
    assert lacks(**done) == [("outcomes", "", True)]
    assert lacks(**done, quiet_s=60.0) == [("outcomes", "", False)]


@pytest.mark.parametrize(("requested_s", "late"), [(950.0, True), (850.0, False)])
def test_without_some_each_of_them_is_lacking(requested_s: float, late: bool) -> None:
    assert lacks(parts=frozenset({"ocr"}), requested_s=requested_s) == [
        ("deadlines", "detector", late),
        ("deadlines", "embedder", late),
    ]


@pytest.mark.parametrize(("submitted_s", "late"), [(950.0, True), (850.0, False)])
def test_without_an_answer_of_intake_that_is_lacking(submitted_s: float, late: bool) -> None:
    found = lacks(requested_s=None, quiet_s=None, submitted_s=submitted_s)
    assert found == [("submissions", "", late)]


def test_a_part_shows_that_intake_answered_though_the_answer_is_not_recorded() -> None:
    assert lacks(requested_s=None, parts=frozenset({"ocr", "detector"}), quiet_s=901.0) == [
        ("deadlines", "embedder", True)
    ]


def test_a_part_that_came_after_a_partial_outcome_is_lacking_in_it() -> None:
    assert lacks(mended=True, parts=frozenset({"ocr"})) == [("outcomes", "", True)]


# --- paths -----------------------------------------------------------------------------------


def every_path() -> list[paths.Path]:
    declared = catalogue.load()
    lanes = [paths.submission(lane) for lane in declared.lanes]
    stages = [
        paths.stage(stage, lane)
        for stage in ("detector", "ocr", "embedder")
        for lane in declared.lanes
    ]
    return [paths.OUTCOME, paths.END, paths.TOTALS, paths.ITEMS, *lanes, *stages]


def test_every_hop_is_of_a_declared_topic_and_of_a_service_that_reads_it() -> None:
    declared = catalogue.load()
    for hop in {hop for path in every_path() for hop in path if hop.group != paths.OUTBOX}:
        service = hop.group.replace("darkroom-", "darkroom.").split(".")[1]
        for topic in hop.topics:
            assert service in declared[topic].consumers


def test_every_hop_before_the_last_writes_what_the_next_one_reads() -> None:
    declared = catalogue.load()
    for path in every_path():
        known = [hop for hop in path if hop.group != paths.OUTBOX and "retry" not in hop.group]
        for hop, following in pairwise(known):
            service = hop.group.replace("darkroom-", "darkroom.").split(".")[1]
            assert any(service in declared[topic].producers for topic in following.topics)

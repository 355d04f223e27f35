"""What a person is told, and that it is told once."""

from datetime import UTC, datetime

from streamkit.notices import DEPENDENCY_AWAY, TOPIC, notice

NOW_S = 1_795_521_600.25
HOUR_S = 3600


def test_a_notice_says_what_its_schema_asks_for() -> None:
    emit = notice(DEPENDENCY_AWAY, "ocr", "registry", "ocr waits", "It answers 503.", NOW_S)
    assert (emit.topic, emit.key) == (TOPIC, "registry")
    assert emit.value == {
        "notice_id": emit.id,
        "kind": "dependency_away",
        "service": "ocr",
        "subject": "registry",
        "severity": "warning",
        "title": "ocr waits",
        "detail": "It answers 503.",
        "occurred_at": datetime.fromtimestamp(NOW_S, UTC),
    }


def test_workers_that_find_out_the_same_within_an_hour_say_it_with_one_id() -> None:
    first = notice(DEPENDENCY_AWAY, "ocr", "registry", "a", "b", NOW_S)
    second = notice(DEPENDENCY_AWAY, "ocr", "registry", "c", "d", NOW_S + 60)
    assert first.id == second.id


def test_other_facts_have_other_ids() -> None:
    ids = {
        notice(kind, service, subject, "a", "b", at).id
        for kind in ("dependency_away", "dead_letter_surge")
        for service in ("ocr", "detector")
        for subject in ("registry", "objects")
        for at in (NOW_S, NOW_S + HOUR_S)
    }
    assert len(ids) == 16


def test_what_is_said_at_length_is_cut() -> None:
    value = notice(DEPENDENCY_AWAY, "ocr", "x", "t" * 999, "d" * 9999, NOW_S).value
    assert (len(value["title"]), len(value["detail"])) == (200, 4000)

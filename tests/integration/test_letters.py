"""Dead letters in the catalog: those of no photo are shown, those of photos are marked."""

from collections.abc import Iterable, Iterator, Mapping
from uuid import uuid4

import pytest

from catalog_seed import Look, Seed, picture
from darkroom_schemas import ids
from gateway import db
from gateway.catalog import failure_discards, failures
from gateway.catalog.failure_shapes import ChosenFailures, LetterGroup
from gateway.control.letters import LetterKeeper
from streamkit import Failure, RawRecord, Taken, dead_letter
from streamkit.letters import Ledger, mark_record

SERVICES = ("intake", "detector")


class Log:
    """Topics in memory, of two partitions each."""

    def __init__(self) -> None:
        self.topics: dict[str, list[list[Taken]]] = {
            f"darkroom.{service}.dlq": [[], []] for service in SERVICES
        }
        self.offset = 0

    def has(self, topic: str) -> bool:
        return topic in self.topics

    def records_from(self, topic: str, offsets: Mapping[int, int]) -> Iterator[Taken]:
        for number, partition in enumerate(self.topics[topic]):
            yield from partition[offsets.get(number, 0) :]

    def publish(self, records: Iterable[RawRecord]) -> None:
        for one in records:
            partition = self.topics[one.topic][sum(one.key or b"") % 2]
            number = sum(one.key or b"") % 2
            partition.append(
                Taken(one.topic, number, len(partition), one.key, one.value, one.headers, 0)
            )

    def bury(self, service: str, key: str, code: str, message: str = "It broke.") -> None:
        """The service gives up a record with this key."""
        self.offset += 1
        died = Taken("photo.submitted.batch.v1", 0, self.offset, key.encode(), b"x", [], 0)
        topic = f"darkroom.{service}.dlq"
        failure = Failure(code, message, 1)
        self.publish(
            [dead_letter(topic, died, failure, service=service, version="1", lane="batch")]
        )

    def states(self, service: str) -> list[str]:
        """Of all letters, as `darkroom dlq` shows them."""
        ledger = Ledger(service)
        for record in self.records_from(f"darkroom.{service}.dlq", {}):
            ledger.add(record)
        return [letter.state for letter in ledger.letters()]


@pytest.fixture
def log() -> Log:
    return Log()


def turn(conn: db.Conn, log: Log) -> None:
    LetterKeeper(log, SERVICES, log.publish).turn(conn)


def shown(conn: db.Conn) -> list[LetterGroup]:
    return failures.inbox(conn, ids.LOCAL_OWNER, letters=True).letters


def poisoned(seed: Seed, log: Log, name: str, colour: str) -> str:
    """A photo that the detector gave up; its failure's id."""
    photo = seed.requested(name, picture(colour))
    seed.stage_failed(photo, "detector", "engine_failed", "It broke.")
    seed.outcome(photo, Look(), failed=("detector",))
    log.bury("detector", photo.photo_id, "engine_failed")
    return f"{photo.analysis_id}:detector"


def test_letters_of_no_photo_are_shown_by_service_and_code(
    conn: db.Conn, log: Log, seed: Seed
) -> None:
    for number in range(5):
        log.bury("intake", f"key {number}", "not_framed", f"Not \0 framed, {number}.")
    log.bury("detector", str(uuid4()), "undecodable")
    poisoned(seed, log, "a.jpg", "#111111")
    turn(conn, log)
    turn(conn, log)
    assert [(one.service, one.code, one.count) for one in shown(conn)] == [
        ("intake", "not_framed", 5),
        ("detector", "undecodable", 1),
    ]
    assert shown(conn)[0].command == "darkroom dlq list intake --code not_framed"
    assert "\0" not in shown(conn)[0].reason
    assert failures.inbox(conn, ids.LOCAL_OWNER, letters=False).letters == []


def test_a_letter_is_marked_once_its_photo_is_whole_or_laid_aside(
    conn: db.Conn, log: Log, seed: Seed
) -> None:
    for number in range(3):
        poisoned(seed, log, f"{number}.jpg", f"#{number}{number}0000")
    turn(conn, log)
    assert log.states("detector") == ["waiting"] * 3
    first, second, _ = (
        f"{row['analysis_id']}:detector"
        for row in conn.execute("SELECT analysis_id FROM stage_failures ORDER BY failed_at")
    )
    chosen = ChosenFailures(failures=(first,))
    failure_discards.discard(conn, ids.LOCAL_OWNER, chosen, "no photo", "ada")
    conn.execute(
        "INSERT INTO parts SELECT analysis_id, stage, 1, photo_id, owner, 'e', 'v', 1, now(), '{}',"
        " '' FROM stage_failures WHERE analysis_id = %s",
        (second.split(":")[0],),
    )
    turn(conn, log)
    assert sorted(log.states("detector")) == ["discarded", "replayed", "waiting"]
    before = sum(len(one) for one in log.topics["darkroom.detector.dlq"])
    turn(conn, log)
    assert sum(len(one) for one in log.topics["darkroom.detector.dlq"]) == before, "marked once"


def test_what_somebody_else_marked_is_not_shown(conn: db.Conn, log: Log) -> None:
    log.bury("intake", "k", "not_framed")
    topic = "darkroom.intake.dlq"
    ledger = Ledger("intake")
    for record in log.records_from(topic, {}):
        ledger.add(record)
    (letter,) = ledger.letters()
    turn(conn, log)
    assert len(shown(conn)) == 1
    log.publish([mark_record(topic, letter, "discarded", "mia", "", "2026-01-01T00:00:00")])
    turn(conn, log)
    assert shown(conn) == []
    log.bury("intake", "k", "not_framed")
    turn(conn, log)
    assert [one.count for one in shown(conn)] == [1]


def test_what_the_topics_do_not_keep_is_forgotten(conn: db.Conn, log: Log) -> None:
    log.bury("intake", "k", "not_framed")
    turn(conn, log)
    conn.execute("UPDATE dead_letters SET died_at = now() - interval '31 days'")
    turn(conn, log)
    assert shown(conn) == []

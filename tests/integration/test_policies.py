"""Confidence policies: revisions that two people can't take from each other, and who made them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import audit, policies
from gateway.catalog.outbox import Outbox
from gateway.catalog.policies import PolicyChangedError, Wanted
from gateway.catalog.submissions import Submission, submit_photo
from streamkit import Codec

Example = Callable[..., dict[str, Any]]


def wanted(auto_above: float = 0.9, **changes: Any) -> Wanted:
    given: dict[str, Any] = {
        **{"auto_above": auto_above, "review_below": 0.4, "labels": {"cat": (0.95, 0.7)}},
        **{"reason": "too many cats", "changed_by": "ada"},
    }
    return Wanted(**{**given, **changes})


def submitted(conn: db.Conn, outbox: Outbox, codec: Codec) -> tuple[int, Any]:
    """The policy revision of a new photo's analysis, in the catalog and in its event."""
    submission = Submission(
        owner=ids.LOCAL_OWNER,
        sha256=uuid4().hex * 2,
        source_uri="file:///objects/x",
        byte_size=3,
        file_name="cat.jpg",
        lane="high",
        submission_id=str(uuid4()),
    )
    submit_photo(conn, outbox, submission)
    (row,) = conn.execute(
        "SELECT policy_revision FROM analyses WHERE analysis_id = %s", (submission.analysis_id,)
    ).fetchall()
    (event,) = conn.execute(
        "SELECT topic, value FROM outbox WHERE key = %s", (submission.photo_id,)
    ).fetchall()
    return row["policy_revision"], codec.decode(event["topic"], event["value"])["policy_revision"]


def test_a_change_is_a_revision_an_audit_entry_and_an_event(
    conn: db.Conn, outbox: Outbox, codec: Codec
) -> None:
    assert policies.current(conn) is None
    policy = policies.change(conn, outbox, wanted(), expected=1)

    assert policies.current(conn) == policy
    assert (policy.revision, policy.labels["cat"].review_below) == (2, 0.7)
    ((entry,), following) = audit.entries(conn, limit=10)
    assert (entry.who, entry.what, entry.subject) == ("ada", "policy.changed", "2")
    assert (entry.detail["auto_above"], entry.detail["reason"]) == (0.9, "too many cats")
    assert following is None
    (row,) = conn.execute("SELECT * FROM outbox").fetchall()
    assert (row["topic"], row["key"]) == (names.OPS_POLICY, "2")
    event = codec.decode(names.OPS_POLICY, row["value"])
    assert event["labels"] == [{"label": "cat", "auto_above": 0.95, "review_below": 0.7}]
    assert (event["revision"], event["changed_at"]) == (2, policy.changed_at)


def test_photos_are_handed_in_under_the_newest_policy(
    conn: db.Conn, outbox: Outbox, codec: Codec
) -> None:
    assert submitted(conn, outbox, codec) == (1, None)
    for _ in range(2):
        policies.change(conn, outbox, wanted())
    assert submitted(conn, outbox, codec) == (3, 3)


def test_a_change_of_what_is_no_longer_there_is_refused(conn: db.Conn, outbox: Outbox) -> None:
    policies.change(conn, outbox, wanted(), expected=1)

    with pytest.raises(PolicyChangedError) as refused:
        policies.change(conn, outbox, wanted(0.6), expected=1)

    assert refused.value.revision == 2
    assert len(policies.history(conn, None, 10)[0]) == 1
    assert len(audit.entries(conn, limit=10)[0]) == 1


@pytest.mark.parametrize("expected", [1, None])
def test_of_many_changes_at_once_each_is_a_revision_of_its_own_or_refused(
    database: str, conn: db.Conn, outbox: Outbox, expected: int | None
) -> None:
    people = 6
    together = threading.Barrier(people)

    def change(number: int) -> bool:
        with db.connect(database, name="admin") as own:
            together.wait(timeout=30)
            try:
                policies.change(own, outbox, wanted(changed_by=f"admin {number}"), expected)
            except PolicyChangedError:
                return False
            return True

    with ThreadPoolExecutor(people) as pool:
        made = list(pool.map(change, range(people)))

    assert made.count(True) == (people if expected is None else 1)
    found, _ = policies.history(conn, None, 100)
    assert [one.revision for one in found] == list(range(made.count(True) + 1, 1, -1))


def test_history_and_audit_are_read_page_by_page(conn: db.Conn, outbox: Outbox) -> None:
    for number in range(5):
        policies.change(conn, outbox, wanted(reason=f"reason {number}"))
    audit.audit(conn, "bob", "import.paused", "x", {})

    first, place = policies.history(conn, None, 3)
    rest, end = policies.history(conn, place, 3)
    assert [one.reason[-1] for one in (*first, *rest)] == ["4", "3", "2", "1", "0"]
    assert end is None

    seen, before = [], None
    while True:
        some, before = audit.entries(conn, before=before, limit=2)
        seen += [one.what for one in some]
        if before is None:
            break
    assert seen == ["import.paused", *["policy.changed"] * 5]
    assert [one.who for one in audit.entries(conn, what="import", limit=9)[0]] == ["bob"]
    assert audit.entries(conn, what="imp", limit=9) == ([], None)

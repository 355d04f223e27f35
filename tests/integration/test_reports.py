"""How an import stands, why files failed and what became of each, read from the real catalog."""

import csv
import io
from dataclasses import replace
from uuid import UUID, uuid4

import httpx
import pytest

from catalog_seed import OWNER, Look, Seed, picture
from gateway import db
from gateway.catalog import read, read_batches, read_failures, reports
from gateway.catalog.shapes import Batch


def mixed(seed: Seed, conn: db.Conn) -> str:
    """An import of seven files, each with another end."""
    good = seed.analyzed("good.jpg", picture("red"), Look(labels=[("tabby", 0.9)]))
    torn = seed.rejected("torn.jpg", "image_truncated", "It ends in the middle.")
    unread = seed.requested("unread.jpg", picture("blue"))
    mended = seed.requested("mended.jpg", picture("green"))
    called_off = seed.requested("called-off.jpg", picture("gray"))
    for photo in (unread, mended):
        seed.parts(photo, Look())
        seed.stage_failed(photo, "ocr", "gave_up", "No text after 4 attempts.")
        seed.outcome(photo, Look(outcome="review"), failed=["ocr"])
    seed.outcome(mended, Look(outcome="auto_labeled"), revision=2)
    batch = seed.batch([good, torn, unread, mended, called_off], {})
    seed.duplicate(batch, 5, "=cmd|copy.jpg", of=good)
    seed.refused(batch, 6, "secret.jpg", "file_forbidden", "It may not be read.")
    seed.ended(batch, 0, "auto_labeled")
    seed.ended(batch, 1, "rejected")
    seed.ended(batch, 2, "review", partial=True)
    seed.ended(batch, 3, "review", partial=True)
    seed.ended(batch, 4, "cancelled")
    conn.execute(
        "UPDATE batches SET found = 7, duplicates = 1, refused = 1, totals = '"
        '{"found": 7, "duplicates": 1, "rejected": 2, "accepted": 4, "auto_labeled": 1,'
        ' "review": 2, "cancelled": 1, "partial": 2}\''
        ", state = 'completed_with_failures', completed_at = now() WHERE batch_id = %s",
        (batch,),
    )
    return batch


def shown(conn: db.Conn, batch: str) -> Batch:
    found = read_batches.batch(conn, OWNER, UUID(batch))
    assert found is not None
    return found


def test_an_import_says_why_files_failed_and_what_was_repaired(seed: Seed, conn: db.Conn) -> None:
    batch = shown(conn, mixed(seed, conn))
    assert (batch.state, batch.title, batch.pending) == ("completed_with_failures", "trip", 0)
    assert batch.found == batch.duplicates + batch.rejected + batch.accepted
    assert [(each.kind, each.stage, each.code, each.count) for each in batch.failures] == [
        ("refused", None, "file_forbidden", 1),
        ("stage_failed", "ocr", "gave_up", 1),
        ("rejected", None, "image_truncated", 1),
    ]
    assert batch.failures[0].paths == ["/photos/trip/secret.jpg"]
    assert (batch.failures_of, batch.repaired, batch.eta_s) == (4, 1, None)


def test_a_copy_of_what_was_refused_says_why(seed: Seed, conn: db.Conn) -> None:
    good = seed.analyzed("good.jpg", picture("red"), Look(labels=[("tabby", 0.9)]))
    torn = seed.rejected("torn.jpg", "image_truncated", "It ends in the middle.")
    batch = seed.batch([good, torn], {})
    seed.duplicate(batch, 2, "good-copy.jpg", of=good)
    seed.duplicate(batch, 3, "torn-copy.jpg", of=torn)
    told = [(one.end, one.code, one.reason) for one in
            reports.lines(conn, OWNER, UUID(batch), after=1, limit=9)]  # fmt: skip
    assert told == [
        ("duplicate", None, None),
        ("duplicate", "image_truncated", "The same bytes were refused: It ends in the middle."),
    ]


def test_of_very_many_failures_progress_looks_at_the_first_ones_only(
    seed: Seed, conn: db.Conn
) -> None:
    batch = seed.batch([], {})
    conn.execute(
        "INSERT INTO batch_items (batch_id, index, path, state, code, message)"
        " SELECT %s, n, '/a/' || n, 'refused', CASE WHEN n < 2500 THEN 'one' ELSE 'other' END, 'x'"
        " FROM generate_series(0, 2999) AS n",
        (batch,),
    )
    conn.execute("UPDATE batches SET refused = 3000 WHERE batch_id = %s", (batch,))
    looked = shown(conn, batch)
    assert [(each.code, each.count) for each in looked.failures] == [("one", 500)]
    assert looked.failures_of == read_failures.LOOKED_AT
    exact = read_failures.reasons(conn, OWNER, UUID(batch))
    assert [(each.code, each.count) for each in exact] == [("one", 2_500), ("other", 500)]
    assert read_failures.reasons(conn, str(uuid4()), UUID(batch)) == []


@pytest.mark.parametrize(
    ("change", "expected", "done"),
    [
        ("state = 'completed', sealed = true, completed_at = now()", 0, 0),
        (
            "state = 'cancelled', sealed = true, found = 9, expected = 400, totals ="
            ' \'{"found": 9, "duplicates": 2, "rejected": 1, "accepted": 6, "cancelled": 6}\'',
            *(400, 9),
        ),
        (
            "state = 'completed_with_failures', sealed = true, found = 3, refused = 3, totals ="
            ' \'{"found": 3, "rejected": 3}\'',
            *(3, 3),
        ),
    ],
    ids=["empty", "cancelled", "only failures"],
)
def test_what_is_over_is_at_its_end(
    seed: Seed, conn: db.Conn, change: str, expected: int, done: int
) -> None:
    batch = seed.batch([], {})
    conn.execute(f"UPDATE batches SET {change}")  # noqa: S608
    over = shown(conn, batch)
    assert (over.expected, over.pending) == (expected, 0)
    assert over.duplicates + over.rejected + over.accepted == done


def test_the_time_left_comes_from_samples_that_both_doors_leave(seed: Seed, conn: db.Conn) -> None:
    batch = seed.batch([], {})
    conn.execute(
        "UPDATE batches SET sealed = false, state = 'scanning', expected = 1000, found = 300,"
        " started_at = now() - interval '62 s', duplicates = 290, totals = '{\"accepted\": 290}',"
        " samples = (SELECT jsonb_agg(jsonb_build_array("
        "   extract(epoch FROM now()) - 62 + 2 * n, 20 * n)) FROM generate_series(0, 29) AS n)"
    )
    conn.execute("UPDATE batches SET duplicates = 300")  # the scan
    conn.execute("UPDATE batches SET totals = '{\"accepted\": 320}'")  # the recorder
    going = shown(conn, batch)
    assert going.rate == pytest.approx(10, rel=0.05)
    assert going.eta_s == pytest.approx(38, rel=0.05)
    assert going.eta_s is not None
    assert going.eta_low_s is not None
    assert going.eta_high_s is not None
    assert 0 < going.eta_low_s < going.eta_s < going.eta_high_s
    row = conn.execute("SELECT samples FROM batches").fetchone()
    assert row is not None
    assert (len(row["samples"]), row["samples"][-1][1]) == (31, 590), "one of the two, 2 s apart"
    conn.execute("UPDATE batches SET state = 'paused', paused_by = 'ada'")
    paused = shown(conn, batch)
    assert (paused.rate, paused.eta_s, paused.paused_by) == (None, None, "ada")
    conn.execute("UPDATE batches SET state = 'scanning'")
    row = conn.execute("SELECT samples FROM batches").fetchone()
    assert row is not None
    assert [count for _, count in row["samples"]] == [620], "a pause is no slowness"


def test_samples_are_bounded(seed: Seed, conn: db.Conn) -> None:
    seed.batch([], {})
    full = "SELECT jsonb_agg(jsonb_build_array(n, n)) FROM generate_series(0, 63) AS n"
    conn.execute(f"UPDATE batches SET samples = ({full})")  # noqa: S608
    conn.execute("UPDATE batches SET duplicates = 100")
    row = conn.execute("SELECT samples FROM batches").fetchone()
    assert row is not None
    assert (len(row["samples"]), row["samples"][0], row["samples"][-1][1]) == (64, [1, 1], 100)


def test_a_photo_whose_analysis_was_called_off_is_not_pending(seed: Seed, conn: db.Conn) -> None:
    photo = seed.requested("off.jpg", picture())
    conn.execute("UPDATE analyses SET cancelled_at = now()")
    batch = seed.batch([photo], {})
    seed.ended(batch, 0, "cancelled")
    found = read.photo(conn, OWNER, UUID(photo.photo_id))
    assert found is not None
    assert found.status == "cancelled"
    counts = read.counts(conn, OWNER)
    assert (counts.photos, counts.pending, counts.cancelled) == (1, 0, 1)
    (item,), _ = read_batches.items(conn, OWNER, UUID(batch), kind=None, after=-1, limit=9)
    assert (item.status, item.photo) == ("cancelled", None)
    seed.parts(photo, Look())
    seed.outcome(photo, Look())
    again = read.photo(conn, OWNER, UUID(photo.photo_id))
    assert again is not None
    assert again.status == "analyzed"


def test_statistics_count_labels_and_durations(seed: Seed, conn: db.Conn) -> None:
    told = reports.statistics(conn, OWNER, UUID(mixed(seed, conn)))
    assert told is not None
    assert (told.total, told.success, told.failed, told.duplicates) == (7, 3, 2, 1)
    assert (told.cancelled, told.pending, told.success_rate) == (1, 0, 0.6)
    assert [(each.label, each.count, each.review) for each in told.labels] == [("tabby", 3, 1)]
    assert told.durations["total"].p50 == pytest.approx(2000)
    assert told.durations["ocr"].p95 == pytest.approx(4)
    assert set(told.durations) == {"total", "intake", "detector", "ocr", "embedder"}
    assert reports.statistics(conn, str(uuid4()), UUID(told.batch_id)) is None


def test_every_file_is_told_with_its_end(seed: Seed, conn: db.Conn) -> None:
    batch = UUID(mixed(seed, conn))
    lines = reports.lines(conn, OWNER, batch, after=-1, limit=100)
    assert [(line.index, line.end) for line in lines] == [
        *((0, "auto_labeled"), (1, "rejected"), (2, "review"), (3, "review")),
        *((4, "cancelled"), (5, "duplicate"), (6, "refused")),
    ]
    assert lines[1].reason == "It ends in the middle."
    assert lines[2].reason == "ocr: No text after 4 attempts."
    assert (lines[3].repaired, lines[3].outcome, lines[3].code) == (True, "auto_labeled", None)
    assert lines[5].duplicate_of_path == "/photos/trip/good.jpg"
    assert reports.lines(conn, OWNER, batch, after=4, limit=1) == [lines[5]]
    assert reports.lines(conn, str(uuid4()), batch, after=-1, limit=9) == []


def test_the_door_gives_reports_failures_and_statistics(
    client: httpx.Client, seed: Seed, conn: db.Conn
) -> None:
    batch = mixed(seed, conn)
    table = client.get(f"/v1/imports/{batch}/report.csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in table.headers["content-disposition"]
    lines = list(csv.DictReader(io.StringIO(table.text)))
    assert [line["end"] for line in lines] == [
        *("auto_labeled", "rejected", "review", "review", "cancelled", "duplicate", "refused"),
    ]
    assert lines[3]["repaired"] == "yes"
    failures = client.get(f"/v1/imports/{batch}/failures", params={"limit": 2}).json()
    assert [each["code"] for each in failures["items"]] == ["image_truncated", "gave_up"]
    assert sum(each["count"] for each in failures["reasons"]) == 3
    rest = client.get(f"/v1/imports/{batch}/failures", params={"cursor": failures["next"]}).json()
    assert ([each["path"] for each in rest["items"]], rest["reasons"], rest["next"]) == (
        ["/photos/trip/secret.jpg"],
        [],
        None,
    )
    assert client.get(f"/v1/imports/{batch}/statistics").json()["success"] == 3
    page = client.get(f"/v1/imports/{batch}/report.html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.count("data:image/jpeg;base64,") == 5, "one for each photo that has a picture"
    for text in ("Completed, with failures", "It may not be read.", "same bytes as", "4 attempts"):
        assert text in page.text
    for path in ("statistics", "failures", "report.csv", "report.html"):
        assert client.get(f"/v1/imports/{uuid4()}/{path}").json()["code"] == "not_found"


def test_names_are_text_in_every_report(client: httpx.Client, seed: Seed) -> None:
    evil = '<img src=x onerror=alert(1)>"&.jpg'
    photo = seed.analyzed(evil, picture(), replace(Look(), labels=[("<b>tabby</b>", 0.9)]))
    batch = seed.batch([photo], {"found": 1, "accepted": 1, "auto_labeled": 1})
    seed.ended(batch, 0, "auto_labeled")
    page = client.get(f"/v1/imports/{batch}/report.html").text
    assert "&lt;img src=x onerror=alert(1)&gt;&#34;&amp;.jpg" in page
    assert not {"<img src=x", "<b>tabby"} & {
        part for part in ("<img src=x", "<b>tabby") if part in page
    }
    table = client.get(f"/v1/imports/{batch}/report.csv").text
    (line,) = csv.DictReader(io.StringIO(table))
    assert line["path"] == f"/photos/trip/{evil}"


def test_a_long_import_is_told_page_by_page(
    client: httpx.Client, seed: Seed, conn: db.Conn
) -> None:
    batch = seed.batch([], {})
    conn.execute(
        "INSERT INTO batch_items (batch_id, index, path, state, code, message)"
        " SELECT %s, n, '/a/' || n, 'refused', 'file_missing', 'It is gone.'"
        " FROM generate_series(0, 12000) AS n",
        (batch,),
    )
    conn.execute("UPDATE batches SET found = 12001, refused = 12001")
    table = client.get(f"/v1/imports/{batch}/report.csv").text
    indices = [int(line["index"]) for line in csv.DictReader(io.StringIO(table))]
    assert indices == list(range(12001))
    page = client.get(f"/v1/imports/{batch}/report.html").text
    assert "2,001 more are left out here" in page
    assert page.count("<tr>") < 10_100
    assert "/a/9999" in page.replace("<span>/a/</span>", "/a/")

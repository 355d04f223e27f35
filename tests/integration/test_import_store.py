"""An import of a bucket, from the listing to the catalog."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.s3.models import S3Backend

from darkroom_schemas import ids
from gateway import db
from gateway.catalog import imports
from gateway.catalog.outbox import Outbox
from import_kit import items, make_means, taken_up, to_the_end
from s3_kit import loopback_s3
from streamkit import ObjectStore


@pytest.fixture
def s3() -> Iterator[S3Backend]:
    with loopback_s3() as holding:
        holding.create_bucket("pictures", "us-east-1")
        yield holding


def test_a_prefix_of_a_bucket_is_imported_and_goes_on_where_it_stood(
    s3: S3Backend, conn: db.Conn, outbox: Outbox, tmp_path: Path
) -> None:
    for number in range(5):
        s3.put_object("pictures", f"2024/{number} é.jpg", b"photo %d" % number)
    s3.put_object("pictures", "2024/again.jpg", b"photo 0")
    s3.put_object("pictures", "2024/raw/x.jpg", b"raw")
    s3.put_object("pictures", "2024x/other.jpg", b"other")
    uri = "s3://pictures/2024"
    batch_id = imports.begin_import(
        conn,
        outbox,
        owner=ids.LOCAL_OWNER,
        lane="batch",
        kind="store",
        roots=[uri],
        location={"uri": uri, "exclude": ["raw/"]},
    )
    means = make_means(outbox, ObjectStore(f"file://{tmp_path}", ["s3://pictures"]))
    for _ in range(3):  # each time another runner, for one file
        taken_up(conn, batch_id, means).step(1)
    to_the_end(taken_up(conn, batch_id, means))
    found = items(conn, batch_id)
    assert [item["path"] for item in found] == [
        *(f"{number} é.jpg" for number in range(5)),
        "again.jpg",
    ]
    assert [item["state"] for item in found] == ["submitted"] * 5 + ["duplicate"]

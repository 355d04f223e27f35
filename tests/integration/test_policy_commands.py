"""`/v1/policy`, `/v1/audit`, `/v1/reprocess` and their commands, on a real door."""

import json
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner, Result

from catalog_seed import Look, Seed, picture
from darkroom_cli.app import build
from gateway import db


def said(door: str, *words: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(build(), [*words, "--url", door])


def read(door: str, *words: str) -> Any:
    """What the command says to programs."""
    result = said(door, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


WANTED: dict[str, Any] = {"auto_above": 0.9, "review_below": 0.4, "reason": "why", "by": "ada"}


def test_a_policy_is_made_read_and_found_in_history_and_audit(client: httpx.Client) -> None:
    assert client.get("/v1/policy").json() == {"revision": 1, "policy": None}
    labels = {"cat": {"auto_above": 0.95, "review_below": 0.7}}

    made = client.post("/v1/policy", json={**WANTED, "labels": labels, "expected_revision": 1})
    assert made.status_code == 201
    assert client.get("/v1/policy").json() == {"revision": 2, "policy": made.json()}
    assert client.get("/v1/policy/history").json() == {"items": [made.json()], "next": None}
    (entry,) = client.get("/v1/audit", params={"what": "policy"}).json()["items"]
    assert (entry["who"], entry["detail"]["labels"]) == ("ada", labels)

    late = client.post("/v1/policy", json={**WANTED, "expected_revision": 1})
    assert (late.status_code, late.json()["code"]) == (409, "policy_changed")
    for _ in range(2):
        assert client.post("/v1/policy", json=WANTED).status_code == 201
    first = client.get("/v1/policy/history", params={"limit": 2}).json()
    rest = client.get("/v1/policy/history", params={"limit": 2, "cursor": first["next"]}).json()
    assert [one["revision"] for one in (*first["items"], *rest["items"])] == [4, 3, 2]
    assert rest["next"] is None


IMPOSSIBLE: tuple[dict[str, Any], ...] = (
    {"auto_above": 1.1},
    {"review_below": -0.1},
    {"review_below": 0.95},
    {"labels": {"cat": {"auto_above": 0.5, "review_below": 0.6}}},
    {"labels": {"": {"auto_above": 0.9, "review_below": 0.6}}},
    {"labels": {f"l{n}": {"auto_above": 0.9, "review_below": 0.6} for n in range(1001)}},
    {"reason": ""},
    {"reason": "zero \0"},
    {"by": "x" * 101},
    {"expected_revision": 0},
)


def test_a_policy_that_can_not_be_is_refused(client: httpx.Client, conn: db.Conn) -> None:
    for wrong in IMPOSSIBLE:
        assert client.post("/v1/policy", json={**WANTED, **wrong}).status_code == 422, wrong
    assert conn.execute("SELECT FROM policies").fetchall() == []


def test_the_policy_command_changes_what_is_named_and_keeps_the_rest(door: str) -> None:
    assert "settings hold" in said(door, "policy", "show").output
    lonely = said(door, "policy", "set", "--auto-above", "0.9", "--reason", "x")
    assert lonely.exit_code != 0

    both = ("--auto-above", "0.9", "--review-below", "0.4")
    first = said(door, "policy", "set", *both, "--reason", "first", "--by", "ada")
    assert first.exit_code == 0
    assert "Revision 2 routes what is handed in from now on; photos of before when they are" in (
        first.output
    ), "a rescoring goes by the newest policy, too"
    labels = ("--label", "cat=0.95,0.7", "--label", "a=b=0.8,0.8")
    assert said(door, "policy", "set", *labels, "--reason", "labels", "--by", "bob").exit_code == 0
    made = read(door, "policy", "set", "--without-label", "cat", "--reason", "no cats")

    assert (made["revision"], made["auto_above"], list(made["labels"])) == (4, 0.9, ["a=b"])
    assert read(door, "policy", "show")["policy"] == made
    found = read(door, "policy", "history")
    assert [one["reason"] for one in found] == ["no cats", "labels", "first"]
    assert "a=b" in said(door, "policy", "show").output
    assert "no cats" in said(door, "policy", "history").output
    assert [one["who"] for one in read(door, "audit", "policy")][1:] == ["bob", "ada"]
    assert "policy.changed" in said(door, "audit").output


def test_the_reprocess_command_says_what_it_would_do_asks_and_begins(
    door: str, conn: db.Conn, tmp_path: Path
) -> None:
    seed = Seed(conn, tmp_path)
    cat = seed.analyzed("cat.jpg", picture("#446688"))
    seed.analyzed("dog.jpg", picture("#884466"), Look(labels=(("dog", 0.9),)))
    by_label = ("reprocess", "--label", "tabby")

    assert read(door, *by_label, "--dry-run") == {
        "count": 1,
        "sample": [{"photo_id": cat.photo_id, "file_name": "cat.jpg"}],
    }
    refused = CliRunner().invoke(build(), [*by_label, "--url", door], input="n\n")
    assert refused.exit_code != 0
    assert conn.execute("SELECT FROM batches").fetchall() == []
    assert "0 photos fit" in said(door, "reprocess", "--missing", "ocr", "--yes").output

    begun = read(door, "reprocess", "--all", "--after", "1d", "--yes", "--detach", "--by", "ada")
    assert (begun["batch"]["kind"], begun["batch"]["state"]) == ("reprocess", "scanning")
    (row,) = conn.execute("SELECT lane, location FROM batches").fetchall()
    assert row["lane"] == "batch"
    assert row["location"]["filter"]["all"] is True
    (entry,) = read(door, "audit", "reprocess")
    assert (entry["who"], entry["subject"]) == ("ada", begun["batch"]["batch_id"])


def test_a_filter_that_says_nothing_is_refused(client: httpx.Client, conn: db.Conn) -> None:
    for filter_ in ({}, {"al": True}, {"missing": "eyes"}, {"label": "\0"}):
        answer = client.post("/v1/reprocess", json={"filter": filter_})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    wrong_lane = client.post("/v1/reprocess", json={"filter": {"all": True}, "lane": "high"})
    assert wrong_lane.status_code == 422
    assert conn.execute("SELECT FROM batches").fetchall() == []

"""The user's own labels and their examples, on a real catalog and a real api door."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner, Result

from api_door import api_door, door_settings
from catalog_seed import OWNER, Look, Seed, Seeded, picture
from darkroom_cli.app import build
from darkroom_schemas import names
from darkroom_schemas.heads import head_name
from gateway import db
from gateway.catalog import audit, ends, keys, labels, results
from gateway.catalog.keys import KeyRequest
from infrastructure import Infrastructure

Example = Callable[..., dict[str, Any]]

SET = "/v1/labels/labels"
LABELS = ["receipt", "ticket"]


def photos(seed: Seed, count: int, outcome: str = "review") -> list[Seeded]:
    look = Look(labels=(("ticket", 0.4),), outcome=outcome)
    return [
        seed.analyzed(f"{number}.jpg", picture(size=(40 + number, 30)), look)
        for number in range(count)
    ]


@pytest.fixture
def made(client: httpx.Client) -> httpx.Client:
    """The door, with a set of two labels."""
    assert client.put(SET, json={"labels": LABELS, "by": "ada"}).status_code == 201
    return client


def gives(client: httpx.Client, photo: Seeded | str, label: str | None, **more: Any) -> Any:
    photo_id = photo if isinstance(photo, str) else photo.photo_id
    body = {"photo_id": photo_id, "label": label, "by": "ada", **more}
    return client.post(f"{SET}/examples", json=body)


def answers(client: httpx.Client, photo: Seeded, answer: str, **more: Any) -> None:
    body = {"answer": answer, "by": "bob", **more}
    response = client.post(f"/v1/reviews/{photo.photo_id}", json=body)
    assert response.status_code == 200, response.text


def shown(
    client: httpx.Client, *, of: str = "labels", **query: Any
) -> dict[str, tuple[str | None, str]]:
    """Examples by photo: label and source."""
    items = client.get(f"/v1/labels/{of}/examples", params=query).json()["items"]
    return {one["photo_id"]: (one["label"], one["source"]) for one in items}


def audited(conn: db.Conn) -> list[tuple[str, str, str]]:
    found, _ = audit.entries(conn, limit=50)
    return [(one.who, one.what, one.subject) for one in reversed(found)]


def test_a_set_is_made_and_changed_and_says_what_it_lacks(
    client: httpx.Client, conn: db.Conn, seed: Seed
) -> None:
    assert client.get("/v1/labels").json() == {"items": []}
    assert client.get(SET).json()["code"] == "no_such_set"
    first = client.put(SET, json={"labels": ["receipt"], "by": "ada"})
    assert (first.status_code, first.json()["created_by"]) == (201, "ada")
    assert first.json()["verdict"]["sentence"] == (
        "Needs 3 more of `receipt`; and a second label, or 3 more of `none`."
    )
    again = client.put(SET, json={"labels": ["receipt"], "by": "bob"})
    assert (again.status_code, again.json()) == (200, first.json())
    changed = client.put(SET, json={"labels": LABELS, "by": "bob"}).json()
    assert changed["labels"] == LABELS
    assert changed["verdict"]["missing"] == [{"label": one, "needs": 3} for one in LABELS]
    assert client.get("/v1/labels").json()["items"] == [changed]
    assert audited(conn) == [
        ("ada", "labels.created", "labels"),
        ("bob", "labels.changed", "labels"),
    ]

    for number, photo in enumerate(photos(seed, 7)):
        assert gives(client, photo, [*LABELS, None][number % 3]).status_code == 200
    found = client.get(SET).json()
    assert [(one["label"], one["examples"], one["person"]) for one in found["counts"]] == [
        ("receipt", 3, 3),
        ("ticket", 2, 2),
        (None, 2, 2),
    ]
    assert found["verdict"]["sentence"] == "Needs 1 more of `ticket`."
    assert (found["verdict"]["enough"], found["examples"]) == (False, 7)


def test_a_set_of_the_same_name_but_for_case_is_refused(client: httpx.Client) -> None:
    body = {"labels": LABELS}
    assert client.put("/v1/labels/things", json=body).status_code == 201
    refused = client.put("/v1/labels/Things", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "set_exists")
    assert "things" in refused.json()["detail"]
    assert client.put("/v1/labels/things", json=body).status_code == 200
    assert [one["name"] for one in client.get("/v1/labels").json()["items"]] == ["things"]


def test_two_who_make_a_set_at_once_do_not_make_it_twice(
    database: str, client: httpx.Client
) -> None:
    together = threading.Barrier(2)

    def makes(name: str) -> str:
        with db.connect(database, name=name) as own:
            together.wait(timeout=30)
            try:
                labels.put_label_set(own, OWNER, name, LABELS, "ada")
            except labels.LabelSetError as error:
                return error.code
        return "made"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(makes, ("things", "Things"))) == ["made", "set_exists"]
    assert len(client.get("/v1/labels").json()["items"]) == 1


def test_a_set_warns_of_labels_that_its_model_still_gives(
    made: httpx.Client, conn: db.Conn, door: str
) -> None:
    assert made.get(SET).json()["warning"] is None
    name = head_name(OWNER, "labels")
    conn.execute(
        "INSERT INTO model_versions (name, version, engine, options, files, sha256, built_in,"
        " metrics, stage, created_by) VALUES (%s, 'head@1', 'head', '{}', '[]', 'ab', false,"
        " %s, 'active', 'test')",
        (name, json.dumps({"labels": ["chart", "ticket"]})),
    )
    conn.execute(
        "INSERT INTO model_activations (name, generation, version, shadow_share, change,"
        " activated_by, activated_at) VALUES (%s, 1, 'head@1', 0, 'activated', 'test', now())",
        (name,),
    )
    warning = (
        "The version in use still gives `chart`, which is no label of the set any more:"
        " train again."
    )
    assert made.get(SET).json()["warning"] == warning
    shown = CliRunner().invoke(build(), ["labels", "show", "--url", door], env={"COLUMNS": "200"})
    assert warning in shown.stdout
    made.put(SET, json={"labels": [*LABELS, "chart"]})
    assert made.get(SET).json()["warning"] is None


def test_how_many_are_enough_is_a_setting(
    infrastructure: Infrastructure, database: str, tmp_path: Path, seed: Seed
) -> None:
    settings = door_settings(infrastructure, database, tmp_path, examples_least=1)
    with api_door(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        client.put(SET, json={"labels": LABELS})
        for photo, label in zip(photos(seed, 2), LABELS, strict=True):
            gives(client, photo, label)
        said = client.get(SET).json()["verdict"]
    assert (said["enough"], said["sentence"]) == (True, "There are enough examples.")


@pytest.mark.parametrize(
    "wrong",
    [
        *([], [""], ["none"], ["None"], ["a", "A"], [" a"], ["zero \0"], ["line\nbreak"]),
        *(["x" * 101], [f"label {number}" for number in range(201)], "receipt", None),
    ],
)
def test_labels_that_can_not_be_are_refused(client: httpx.Client, wrong: Any) -> None:
    assert client.put(SET, json={"labels": wrong}).status_code == 422
    assert client.get("/v1/labels").json() == {"items": []}


@pytest.mark.parametrize("name", ["-x", "a b", "x" * 61, "é"])
def test_names_of_sets_that_can_not_be_are_refused(client: httpx.Client, name: str) -> None:
    assert client.put(f"/v1/labels/{name}", json={"labels": LABELS}).status_code == 422


def test_examples_are_given_changed_and_removed_by_people(
    made: httpx.Client, conn: db.Conn, seed: Seed
) -> None:
    photo, other = photos(seed, 2)
    first = gives(made, photo, "receipt").json()
    assert (first["label"], first["source"], first["said_by"]) == ("receipt", "person", "ada")
    assert made.get(first["thumbnail"]).status_code == 200
    assert gives(made, photo, "receipt", by="bob").json() == first, "the same again is the same"
    gives(made, photo, None, by="bob")
    gives(made, other, "ticket")
    assert shown(made) == {
        photo.photo_id: (None, "person"),
        other.photo_id: ("ticket", "person"),
    }
    assert shown(made, label="none") == {photo.photo_id: (None, "person")}
    assert shown(made, label="ticket") == {other.photo_id: ("ticket", "person")}
    place = f"{SET}/examples/{other.photo_id}"
    assert made.delete(place, params={"by": "eve"}).status_code == 204
    assert made.delete(place).status_code == 404
    assert shown(made) == {photo.photo_id: (None, "person")}
    assert [(who, what) for who, what, _ in audited(conn)[1:]] == [
        ("ada", "example.added"),
        ("bob", "example.added"),
        ("ada", "example.added"),
        ("eve", "example.removed"),
    ]


def test_what_can_be_no_example_is_refused(made: httpx.Client, seed: Seed) -> None:
    (photo,) = photos(seed, 1)
    refused = gives(made, photo, "letter")
    assert (refused.status_code, refused.json()["code"]) == (422, "no_such_label")
    assert gives(made, photo, "none").status_code == 422, "null says that"
    assert gives(made, str(uuid4()), "receipt").status_code == 404
    broken = seed.rejected("notes.txt", "not_an_image", "It is plain text.")
    assert gives(made, broken, "receipt").json()["code"] == "photo_rejected"
    body = {"photo_id": photo.photo_id}
    assert made.post(f"{SET}/examples", json=body).status_code == 422, "a label or null"
    lost = made.post("/v1/labels/others/examples", json={**body, "label": "receipt"})
    assert (lost.status_code, lost.json()["code"]) == (404, "no_such_set")
    assert made.get("/v1/labels/others/examples").status_code == 404
    assert shown(made) == {}


def test_examples_are_listed_page_by_page(made: httpx.Client, seed: Seed) -> None:
    several = photos(seed, 5)
    for photo in several:
        gives(made, photo, "receipt")
    seen, query = [], {"limit": "2"}
    while True:
        page = made.get(f"{SET}/examples", params=query).json()
        seen += [one["photo_id"] for one in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == [photo.photo_id for photo in reversed(several)]


def test_answers_of_reviews_are_examples_as_long_as_they_hold(
    made: httpx.Client, seed: Seed
) -> None:
    confirmed, corrected, nothing, foreign, skipped = photos(seed, 5)
    answers(made, confirmed, "confirm")
    answers(made, corrected, "correct", label="receipt")
    answers(made, nothing, "none")
    answers(made, foreign, "correct", label="tabby")
    answers(made, skipped, "skip")
    assert shown(made) == {
        confirmed.photo_id: ("ticket", "review"),
        corrected.photo_id: ("receipt", "review"),
        nothing.photo_id: (None, "review"),
    }
    counts = {one["label"]: one["review"] for one in made.get(SET).json()["counts"]}
    assert counts == {"receipt": 1, "ticket": 1, None: 1}
    answers(made, confirmed, "none")
    assert shown(made)[confirmed.photo_id] == (None, "review"), "the newest answer"
    made.delete(f"/v1/reviews/{confirmed.photo_id}", params={"by": "bob"})
    assert shown(made)[confirmed.photo_id] == ("ticket", "review"), "undone: the one before"
    made.delete(f"/v1/reviews/{confirmed.photo_id}", params={"by": "bob"})
    assert confirmed.photo_id not in shown(made)
    answers(made, corrected, "correct", label="tabby")
    assert corrected.photo_id not in shown(made), "it shows another label"

    made.put(SET, json={"labels": [*LABELS, "tabby"]})
    assert shown(made, label="tabby") == {
        foreign.photo_id: ("tabby", "review"),
        corrected.photo_id: ("tabby", "review"),
    }


def test_an_answer_teaches_every_set_that_has_its_label(made: httpx.Client, seed: Seed) -> None:
    made.put("/v1/labels/papers", json={"labels": ["ticket", "letter"]})
    made.put("/v1/labels/pets", json={"labels": ["tabby"]})
    both, letter, tabby, nothing = photos(seed, 4)
    answers(made, both, "confirm")
    answers(made, letter, "correct", label="letter")
    answers(made, tabby, "correct", label="tabby")
    answers(made, nothing, "none")
    here = {both.photo_id: ("ticket", "review"), nothing.photo_id: (None, "review")}
    assert shown(made) == here
    assert shown(made, of="papers") == {**here, letter.photo_id: ("letter", "review")}
    assert shown(made, of="pets") == {tabby.photo_id: ("tabby", "review")}


def test_that_no_label_fits_is_said_of_the_set_whose_label_was_suggested(
    made: httpx.Client, seed: Seed
) -> None:
    made.put("/v1/labels/papers", json={"labels": ["letter"]})
    look = Look(labels=(("letter", 0.4),), outcome="review")
    letter = seed.analyzed("letter.jpg", picture(size=(99, 30)), look)
    look = Look(labels=(("tabby", 0.4),), outcome="review")
    foreign = seed.analyzed("tabby.jpg", picture(size=(98, 30)), look)
    answers(made, letter, "none")
    answers(made, foreign, "none")
    assert shown(made) == {foreign.photo_id: (None, "review")}
    assert shown(made, of="papers") == {letter.photo_id: (None, "review")}


def test_the_last_word_of_a_person_holds_wherever_they_say_it(
    made: httpx.Client, seed: Seed
) -> None:
    (photo,) = photos(seed, 1)
    gives(made, photo, "receipt")
    answers(made, photo, "confirm")
    assert shown(made) == {photo.photo_id: ("ticket", "review")}
    answers(made, photo, "correct", label="tabby")
    assert shown(made) == {}, "it shows something else, so it is no receipt"
    made.put(SET, json={"labels": [*LABELS, "tabby"]})
    assert shown(made) == {photo.photo_id: ("tabby", "review")}
    made.put(SET, json={"labels": LABELS})
    answers(made, photo, "confirm")
    made.delete(f"{SET}/examples/{photo.photo_id}")
    assert shown(made) == {}
    answers(made, photo, "none")
    assert shown(made) == {photo.photo_id: (None, "review")}
    gives(made, photo, "receipt")
    assert shown(made) == {photo.photo_id: ("receipt", "person")}


def test_labels_that_go_take_their_examples_with_them_and_bring_them_back(
    made: httpx.Client, seed: Seed
) -> None:
    (photo,) = photos(seed, 1)
    gives(made, photo, "ticket")
    made.put(SET, json={"labels": ["receipt"]})
    assert shown(made) == {}
    made.put(SET, json={"labels": LABELS})
    assert shown(made) == {photo.photo_id: ("ticket", "person")}


def test_roles_and_owners(
    infrastructure: Infrastructure, database: str, tmp_path: Path, conn: db.Conn, seed: Seed
) -> None:
    def key(role: Any, owner: str = "local") -> dict[str, str]:
        wish = KeyRequest(name=f"{role} {owner}", role=role, owner=owner)
        return {"Authorization": f"Bearer {keys.make_key(conn, '', wish, 'test').token}"}

    (photo,) = photos(seed, 1)
    viewer, reviewer, trainer = key("viewer"), key("reviewer"), key("trainer")
    stranger = key("trainer", "others")
    body = {"photo_id": photo.photo_id, "label": "receipt"}
    folders = {"batch_id": str(uuid4()), "folders": {"/x": "receipt"}}
    changes: tuple[tuple[str, str, Any], ...] = (
        ("PUT", SET, {"labels": LABELS}),
        ("POST", f"{SET}/examples", body),
        ("POST", f"{SET}/examples/import", folders),
        ("DELETE", f"{SET}/examples/{photo.photo_id}", None),
    )
    settings = door_settings(infrastructure, database, tmp_path, anonymous="none")
    with api_door(settings) as url, httpx.Client(base_url=url, timeout=20) as client:
        for method, path, wanted in changes:
            refused = client.request(method, path, json=wanted, headers=reviewer)
            assert refused.status_code == 403, path
        assert client.put(SET, json={"labels": LABELS}, headers=trainer).status_code == 201
        assert client.post(f"{SET}/examples", json=body, headers=trainer).status_code == 200
        for path in ("/v1/labels", SET, f"{SET}/examples"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers=viewer).status_code == 200
        assert client.get(SET, headers=stranger).status_code == 404
        assert client.put(SET, json={"labels": LABELS}, headers=stranger).status_code == 201
        assert client.post(f"{SET}/examples", json=body, headers=stranger).status_code == 404
        assert client.get(f"{SET}/examples", headers=stranger).json()["items"] == []
        gone = client.delete(f"{SET}/examples/{photo.photo_id}", headers=stranger)
        assert gone.status_code == 404
        lost = client.post(f"{SET}/examples/import", json=folders, headers=stranger)
        assert lost.status_code == 404
        assert client.get(SET, headers=viewer).json()["examples"] == 1
    assert audited(conn)[-2][0] == "key:trainer local"


# The command, with folders.


@pytest.fixture
def by_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for each label; one photo lies in two, one is none, one lies beside them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = tmp_path / "by label"
    for number, name in enumerate(
        ("receipt/1", "Receipt 2/no", "receipt/monday/2", "bus_ticket/1", "bus_ticket/2", "none/1")
    ):
        path = root / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(size=(60 + number, 30)))
    (root / "Receipt 2" / "no.jpg").unlink()
    for name in ("receipt/both.jpg", "bus_ticket/both.jpg"):
        (root / name).write_bytes(picture(size=(99, 30)))
    (root / "receipt" / "notes.jpg").write_text("no photo")
    (root / "beside.jpg").write_bytes(picture(size=(33, 30)))
    (root / ".hidden").mkdir()
    return root


@pytest.fixture
def stages(database: str, example: Example) -> Iterator[None]:
    """Every photo has its outcome a moment after it was recorded, text is rejected; imports end."""
    stop = threading.Event()

    def ended(own: db.Conn, item: dict[str, Any]) -> None:
        about = {name: str(item[name]) for name in ("photo_id", "analysis_id", "owner")}
        if "notes" in item["path"]:
            refusal: Any = example(names.PHOTO_REJECTED, **about, code="not_an_image")
            results.record_rejection(own, refusal)
        else:
            results.record_outcome(own, (example(names.PHOTO_SUGGESTED, **about), str(uuid4())))  # type: ignore[arg-type]
        where = {"batch_id": str(item["batch_id"]), "index": item["index"]}
        end = "rejected" if "notes" in item["path"] else "suggested"
        told: Any = example(names.BATCH_PHOTO_ENDED, end=end, partial=False, **about, **where)
        ends.record_end(own, told)

    def working() -> None:
        with db.connect(database, name="stages") as own:
            while not stop.wait(0.05):
                for row in own.execute(
                    "SELECT i.*, a.owner FROM batch_items i JOIN analyses a USING (analysis_id)"
                    " WHERE i.state = 'submitted' AND i.ended IS NULL"
                ).fetchall():
                    ended(own, row)
                for row in own.execute(
                    "SELECT batch_id FROM batches b WHERE state = 'running' AND NOT EXISTS"
                    " (SELECT FROM batch_items i WHERE i.batch_id = b.batch_id"
                    "  AND i.state = 'submitted' AND i.ended IS NULL)"
                ).fetchall():
                    done: Any = example(names.BATCH_COMPLETED, batch_id=str(row["batch_id"]))
                    ends.record_completion(own, done)

    thread = threading.Thread(target=working)
    thread.start()
    yield
    stop.set()
    thread.join(10)


def run(door: str, *words: str) -> Result:
    command = [*words, "--url", door]
    return CliRunner().invoke(build(words[0]), command, env={"COLUMNS": "200"})


def read(door: str, *words: str, exit_code: int = 0) -> Any:
    result = run(door, *words, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("stages")
def test_a_folder_for_each_label_is_imported_and_imported_again(
    door: str, client: httpx.Client, conn: db.Conn, by_label: Path
) -> None:
    client.put(SET, json={"labels": ["Receipt"], "by": "ada"})
    import_ = ("labels", "import", str(by_label), "--by", "ada")
    done = read(door, *import_, exit_code=1)
    assert (done["set"], done["new_labels"]) == ("labels", ["bus_ticket"])
    assert (done["examples"]["changed"], done["examples"]["unchanged"]) == (5, 0)
    assert sorted((Path(one["path"]).name, one["code"]) for one in done["refused"]) == [
        ("beside.jpg", "no_label"),
        ("both.jpg", "several_labels"),
        ("both.jpg", "several_labels"),
        ("notes.jpg", "not_an_image"),
    ]
    assert done["verdict"]["sentence"] == "Needs 1 more of `Receipt` and 1 more of `bus_ticket`."
    assert sorted(str(label) for label, _ in shown(client).values()) == [
        *("None", "Receipt", "Receipt", "bus_ticket", "bus_ticket"),
    ]
    assert {source for _, source in shown(client).values()} == {"folder"}
    (batch,) = conn.execute("SELECT lane, kind FROM batches").fetchall()
    assert batch == {"lane": "learning", "kind": "upload"}

    for path in ("beside.jpg", "receipt/both.jpg", "receipt/notes.jpg"):
        (by_label / path).unlink()
    again = read(door, *import_)
    assert (again["examples"]["changed"], again["examples"]["unchanged"]) == (1, 5)
    assert (again["refused"], again["new_labels"]) == ([], [])
    entries, _ = audit.entries(conn, what="example", limit=9)
    assert {one.what for one in entries} == {"example.imported"}
    assert [one.detail["examples"] for one in entries] in ([1, 5], [1, 6]), "one for each import"
    summary = run(door, *import_)
    assert summary.exit_code == 0
    assert "0 examples are new, 6 were known, 0 files are none." in summary.output
    assert "Needs 1 more of `Receipt`." in summary.output


@pytest.mark.usefixtures("stages")
def test_an_import_that_is_interrupted_goes_on(
    door: str, client: httpx.Client, by_label: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    import_ = ("labels", "import", str(by_label / ".."), "--set", "own", "--by", "ada")
    assert run(door, *import_[:2], str(by_label / "none"), *import_[3:]).exit_code == 1
    with monkeypatch.context() as broken:
        broken.setattr("darkroom_cli.labels_door.LabelsDoor.take", interrupted)
        stopped = run(door, *import_[:2], str(by_label), *import_[3:])
    assert stopped.exit_code == 130
    assert "the same command goes on there" in stopped.output
    done = read(door, *import_[:2], str(by_label), *import_[3:], exit_code=1)
    assert done["examples"]["changed"] == 5
    assert client.get("/v1/labels/own").json()["examples"] == 5


def test_examples_of_an_import_that_is_not_there_or_of_no_label(made: httpx.Client) -> None:
    place = f"{SET}/examples/import"
    wanted = {"batch_id": str(uuid4()), "folders": {"/x": "receipt"}}
    assert made.post(place, json=wanted).status_code == 404
    begun = made.post("/v1/imports", json={"kind": "upload", "name": "x"}).json()["batch_id"]
    for folders in ({"/x": "letter"}, {"/x": "none"}, {}, {"": "receipt"}):
        refused = made.post(place, json={"batch_id": begun, "folders": folders})
        assert refused.status_code == 422, folders


def test_the_commands_of_labels_and_reviews(door: str, seed: Seed, client: httpx.Client) -> None:
    photo, other, _third = photos(seed, 3)
    assert "labels import FOLDER" in run(door, "labels", "list").output
    create = run(door, "labels", "create", *LABELS, "--by", "ada")
    assert "Needs 3 more of `receipt` and 3 more of `ticket`." in create.output
    assert run(door, "labels", "add", photo.photo_id, "receipt", "--by", "ada").exit_code == 0
    assert run(door, "labels", "add", other.photo_id, "none", "--by", "ada").exit_code == 0
    assert run(door, "labels", "add", other.photo_id, "letter", "--by", "ada").exit_code == 1
    assert shown(client)[other.photo_id] == (None, "person")
    assert read(door, "labels", "show")["examples"] == 2
    assert read(door, "labels", "list")[0]["labels"] == LABELS
    assert run(door, "labels", "remove", other.photo_id, "--by", "ada").exit_code == 0
    assert "labels" in run(door, "labels", "list").output

    table = run(door, "review", "next", "--count", "2", "--by", "ada")
    assert "/rendition" in table.output
    assert "40 %" in table.output
    (last,) = read(door, "review", "next", "--count", "20", "--by", "ada")
    own = ("--by", "ada")
    taken = run(door, "review", "answer", last["photo_id"], "none", "--by", "bob")
    assert (taken.exit_code, "ada looks at this photo." in taken.output) == (1, True)
    word = ("review", "answer", last["photo_id"])
    assert run(door, *word, "correct", *own).exit_code == 2, "which label?"
    said = read(door, *word, "correct", "--label", "receipt", "--lease", last["lease"], *own)
    assert (said["reviewer"], said["label"]) == ("ada", "receipt")
    assert run(door, "review", "release", other.photo_id, *own).output == "Given back.\n"
    assert run(door, "review", "release", other.photo_id, *own).output == "You did not have it.\n"
    assert "skip" in run(door, "review", "skip", other.photo_id, *own).output
    stats = run(door, "review", "stats").output
    assert "2 photos wait, 1 of them are looked at." in stats
    assert "ada" in stats
    assert read(door, "review", "stats")["answered_today"] == 2
    assert "Undone: " in run(door, "review", "undo", *own).output, "the skip"
    undone = read(door, "review", "undo", *own)
    assert undone["undone"]["answer_id"] == said["answer_id"]
    assert "nothing to undo" in run(door, "review", "undo", *own).output

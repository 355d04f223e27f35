"""The registry of models: versions, what holds, who has it; by the catalog and by the API."""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from catalog_seed import OWNER, Look, Seed, picture
from darkroom_schemas import names
from gateway import db
from gateway.catalog import comparisons, model_options, model_reports, models, reembedding, search
from gateway.catalog.model_reports import LIVE_S
from gateway.catalog.model_shapes import ModelFile
from gateway.catalog.models import By, FilesMissingError, RegistryError, Wanted
from gateway.catalog.outbox import Outbox
from gateway.control.reembed import Reembedder
from streamkit import Codec

Example = Callable[..., dict[str, Any]]

ADA = By("ada", "it knows receipts")
BUILT_IN = "efficientnet-lite0@w"


def wanted(labels: str = "receipt", **changes: Any) -> Wanted:
    options = {"detector_label_list": labels}
    return replace(Wanted("detector", "siglip", "ada", options), **changes)


@pytest.fixture
def report(conn: db.Conn, example: Example) -> Callable[..., None]:
    """A replica's report; each is a second later than the one before."""
    moments = iter(datetime.now(UTC) + timedelta(seconds=n) for n in range(1000))

    def say(replica: str = "detector-bulk@a:1", **changes: Any) -> None:
        value = example(
            names.MODEL_REPORTED,
            replica=replica,
            **{
                "state": "ready",
                "generation": 0,
                "wanted": 0,
                "version": BUILT_IN,
                "engine": "efficientnet-lite0",
                "message": None,
                "reported_at": next(moments),
                **changes,
            },
        )
        model_reports.record_reports(conn, value)  # type: ignore[arg-type]

    return say


def activated(conn: db.Conn, codec: Codec) -> list[Mapping[str, Any]]:
    rows = conn.execute(
        "SELECT value, key FROM outbox WHERE topic = %s ORDER BY id", ("model.activated.v1",)
    )
    return [codec.decode(names.MODEL_ACTIVATED, row["value"]) for row in rows]


def test_the_same_content_is_the_same_version_and_another_is_another(conn: db.Conn) -> None:
    made, new = models.register(conn, wanted(licence="Apache-2.0"))
    again, second = models.register(conn, wanted(notes="ignored: it is there"))
    other, _ = models.register(conn, wanted("whiteboard"))

    assert (new, second) == (True, False)
    assert again == made
    assert made.version.startswith("siglip@")
    assert other.version != made.version
    assert (made.stage, made.licence, made.built_in) == ("candidate", "Apache-2.0", False)


def test_a_version_s_files_have_to_be_there_first(conn: db.Conn) -> None:
    sha256 = hashlib.sha256(b"weights").hexdigest()
    file = ModelFile(path="model.safetensors", sha256=sha256, byte_size=7)

    with pytest.raises(FilesMissingError) as refused:
        models.register(conn, wanted(files=[file]))
    assert refused.value.more == {"missing": [sha256]}
    assert models.versions(conn, "detector") == []

    models.keep_file(conn, sha256, 7, "file:///objects/models/x")
    made, _ = models.register(conn, wanted(files=[file]))
    assert made.files == [file]


def test_activating_tells_every_service_all_that_it_needs(
    conn: db.Conn, outbox: Outbox, codec: Codec, report: Callable[..., None]
) -> None:
    report()
    sha256 = "ab" * 32
    models.keep_file(conn, sha256, 7, "file:///objects/models/x")
    file = ModelFile(path="model.safetensors", sha256=sha256, byte_size=7)
    made, _ = models.register(conn, wanted(files=[file]))

    activation = models.activate(conn, outbox, "detector", made.version, ADA)

    (event,) = activated(conn, codec)
    assert activation.generation == 2  # the first one is what the service had by itself
    assert event["generation"] == 2
    assert event["active"]["engine"] == "siglip"
    assert event["active"]["options"] == {"detector_label_list": "receipt"}
    (sent,) = event["active"]["files"]
    assert (sent["uri"], sent["sha256"]) == ("file:///objects/models/x", sha256)
    assert event["shadow"] is None
    stages = {one.version: one.stage for one in models.versions(conn, "detector")}
    assert stages == {made.version: "active", BUILT_IN: "candidate"}


def test_activating_what_holds_changes_nothing(
    conn: db.Conn, outbox: Outbox, codec: Codec, report: Callable[..., None]
) -> None:
    report()
    made, _ = models.register(conn, wanted())
    first = models.activate(conn, outbox, "detector", made.version, ADA)
    assert models.activate(conn, outbox, "detector", made.version, ADA) == first
    assert len(activated(conn, codec)) == 1


Hold = Callable[[str], None]


@pytest.fixture
def hold(conn: db.Conn, outbox: Outbox, report: Callable[..., None]) -> Hold:
    """Activates a version, which a replica then has."""

    def activating(version: str) -> None:
        done = models.activate(conn, outbox, "detector", version, ADA)
        report(generation=done.generation, wanted=done.generation, version=version)

    return activating


def test_roll_backs_go_back_one_activation_at_a_time(
    conn: db.Conn, outbox: Outbox, codec: Codec, report: Callable[..., None], hold: Hold
) -> None:
    report()
    one, two = (models.register(conn, wanted(labels))[0].version for labels in ("a", "b"))
    hold(one)
    hold(two)

    back = [models.roll_back(conn, outbox, "detector", ADA).version for _ in range(2)]

    assert back == [one, BUILT_IN]
    with pytest.raises(RegistryError, match="No other version of detector"):
        models.roll_back(conn, outbox, "detector", ADA)
    events = activated(conn, codec)
    assert [event["active"]["version"] for event in events] == [one, two, one, BUILT_IN]
    assert [event["generation"] for event in events] == [2, 3, 4, 5]
    assert events[-1]["active"]["options"] == {}
    assert [event["active"]["built_in"] for event in events] == [False, False, False, True]


def test_a_roll_back_never_goes_round_in_circles(
    conn: db.Conn, outbox: Outbox, report: Callable[..., None], hold: Hold
) -> None:
    report()
    one, two = (models.register(conn, wanted(labels))[0].version for labels in ("a", "b"))
    for version in (one, two, one, two):
        hold(version)

    back = [models.roll_back(conn, outbox, "detector", ADA).version for _ in range(4)]

    assert back == [one, two, one, BUILT_IN]


def test_a_roll_back_passes_over_versions_that_never_worked_or_are_retired(
    conn: db.Conn, outbox: Outbox, report: Callable[..., None], hold: Hold
) -> None:
    report()
    names_ = ("good", "retired", "broken", "broken too")
    good, old, *broken = (models.register(conn, wanted(one))[0].version for one in names_)
    hold(good)
    hold(old)
    for version in broken:
        models.activate(conn, outbox, "detector", version, ADA)
    models.retire(conn, "detector", old, ADA)

    assert models.roll_back(conn, outbox, "detector", ADA).version == good
    assert models.roll_back(conn, outbox, "detector", ADA).version == BUILT_IN


def test_a_shadow_set_meanwhile_makes_no_version_one_that_never_worked(
    conn: db.Conn, outbox: Outbox, report: Callable[..., None]
) -> None:
    report()
    one, two, beside = (models.register(conn, wanted(x))[0].version for x in ("a", "b", "c"))
    models.activate(conn, outbox, "detector", one, ADA)
    later = models.shadow(conn, outbox, "detector", beside, 1.0, ADA)
    report(generation=later.generation, wanted=later.generation, version=one)
    models.activate(conn, outbox, "detector", two, ADA)

    assert models.roll_back(conn, outbox, "detector", ADA).version == one


def test_a_shadow_is_told_beside_what_holds_and_ends_when_it_is_activated(
    conn: db.Conn, outbox: Outbox, codec: Codec, report: Callable[..., None]
) -> None:
    report()
    made, _ = models.register(conn, wanted())

    models.shadow(conn, outbox, "detector", made.version, 0.25, ADA)
    models.activate(conn, outbox, "detector", made.version, ADA)

    beside, alone = activated(conn, codec)
    assert (beside["active"]["version"], beside["shadow"]["version"]) == (BUILT_IN, made.version)
    assert beside["shadow_share"] == 0.25
    assert (alone["active"]["version"], alone["shadow"]) == (made.version, None)


def test_wishes_that_can_t_be_met_are_told(
    conn: db.Conn, outbox: Outbox, report: Callable[..., None]
) -> None:
    def refused(wish: Callable[[], object]) -> str:
        with pytest.raises(RegistryError) as caught:
            wish()
        return caught.value.code

    made, _ = models.register(conn, wanted())
    version = made.version
    assert refused(lambda: models.shadow(conn, outbox, "detector", version, 1, ADA)) == (
        "nothing_active"
    )
    report()
    assert refused(lambda: models.activate(conn, outbox, "detector", "x@y", ADA)) == (
        "no_such_version"
    )
    models.activate(conn, outbox, "detector", version, ADA)
    assert refused(lambda: models.retire(conn, "detector", version, ADA)) == "in_use"
    assert refused(lambda: models.shadow(conn, outbox, "detector", version, 1, ADA)) == (
        "already_active"
    )
    beside = models.register(conn, wanted("beside"))[0].version
    models.shadow(conn, outbox, "detector", beside, 1.0, ADA)
    with pytest.raises(models.RegistryError, match="models shadow detector --off"):
        models.retire(conn, "detector", beside, ADA)
    stale = By("bob", None, expected=1)
    assert refused(lambda: models.roll_back(conn, outbox, "detector", stale)) == "model_changed"
    assert models.retire(conn, "detector", BUILT_IN, ADA).stage == "retired"


def test_of_many_changes_at_once_each_is_a_generation_of_its_own(
    database: str, conn: db.Conn, outbox: Outbox, codec: Codec, report: Callable[..., None]
) -> None:
    report()
    versions = [models.register(conn, wanted(str(n)))[0].version for n in range(8)]

    def change(version: str) -> None:
        with db.connect(database, name="admin") as own:
            models.activate(own, outbox, "detector", version, ADA)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, versions))

    assert [event["generation"] for event in activated(conn, codec)] == list(range(2, 10))
    active = [one for one in models.versions(conn, "detector") if one.stage == "active"]
    assert len(active) == 1


def test_the_barrier_falls_once_every_live_replica_has_what_holds(
    conn: db.Conn, outbox: Outbox, report: Callable[..., None]
) -> None:
    report("a")
    report("b")
    report("c", state="gone")
    assert model_reports.model(conn, OWNER, "detector").everywhere
    made, _ = models.register(conn, wanted())
    generation = models.activate(conn, outbox, "detector", made.version, ADA).generation
    mine = {"generation": generation, "version": made.version, "engine": "siglip"}

    report("a", **mine)
    report("b", state="loading")
    found = model_reports.model(conn, OWNER, "detector")
    assert (found.everywhere, found.waiting_for) == (False, ["b"])
    report("b", state="failed", message="no such file")
    assert model_reports.model(conn, OWNER, "detector").waiting_for == ["b"]
    report("b", **mine)
    assert model_reports.model(conn, OWNER, "detector").everywhere


def test_a_replica_that_is_silent_is_not_waited_for_and_no_replica_is_not_everywhere(
    conn: db.Conn, outbox: Outbox, report: Callable[..., None]
) -> None:
    report("a")
    report("killed")
    made, _ = models.register(conn, wanted())
    generation = models.activate(conn, outbox, "detector", made.version, ADA).generation
    report("a", generation=generation, version=made.version)
    silent = "UPDATE model_replicas SET seen_at = now() - make_interval(secs => %s)"
    conn.execute(silent + " WHERE replica = 'killed'", (LIVE_S + 1,))

    assert model_reports.model(conn, OWNER, "detector").everywhere
    conn.execute(silent, (LIVE_S + 1,))
    found = model_reports.model(conn, OWNER, "detector")
    assert not found.everywhere
    assert not any(one.live for one in found.replicas)


def test_an_old_report_that_comes_again_is_no_sign_of_life(conn: db.Conn, example: Example) -> None:
    value: Any = example(names.MODEL_REPORTED, state="ready", generation=3)
    later = {**value, "generation": 4, "reported_at": value["reported_at"] + timedelta(seconds=1)}
    model_reports.record_reports(conn, value)
    model_reports.record_reports(conn, later)  # type: ignore[arg-type]
    conn.execute("UPDATE model_replicas SET seen_at = seen_at - interval '40 s'")
    model_reports.record_reports(conn, value)

    (replica,) = model_reports.replicas(conn, value["name"])
    assert (replica.generation, replica.live) == (4, False)


def test_shadow_reports_count_each_photo_once_and_show_the_largest_differences(
    conn: db.Conn, example: Example
) -> None:
    def compared(**changes: Any) -> Any:
        about = {"owner": OWNER, "photo_id": str(uuid4()), "analysis_id": str(uuid4())}
        return example(names.PHOTO_MODEL_COMPARED, **{**about, **changes})

    agreeing = [compared(agrees=True, difference=0.1, shadow_says="espresso") for _ in range(8)]
    apart = compared(agrees=False, difference=0.9, shadow_says="teapot", shadow_ms=90.0)
    failed = compared(agrees=False, difference=1.0, shadow_says="", error="Reject: no")
    stranger = compared(owner=str(uuid4()), agrees=False)
    comparisons.record_comparisons(conn, *agreeing, apart, failed, stranger)
    comparisons.record_comparisons(conn, apart, failed)

    report = comparisons.shadow_report(conn, OWNER, "detector", apart["shadow_version"], 10)

    assert (report.photos, report.agreed, report.failed) == (10, 8, 1)
    assert report.agreement == 0.8
    # Wilson's interval of 8 of 10, as R's prop.test(8, 10, correct = FALSE) gives it.
    assert report.agreement_low == pytest.approx(0.4902, abs=1e-3)
    assert report.agreement_high == pytest.approx(0.9433, abs=1e-3)
    assert [one.shadow_says for one in report.disagreements] == ["", "teapot"]


def vector(conn: db.Conn, example: Example, photo_id: str, version: str, *values: float) -> None:
    answer: Any = example(
        names.PHOTO_REEMBEDDED,
        **{"owner": OWNER, "photo_id": photo_id, "asked_version": version},
        **{"model_version": version, "vector": list(values), "error": None},
        finished_at=datetime.now(UTC),
    )
    reembedding.record_reembedded(conn, answer)


def test_photos_of_an_older_version_are_found_until_the_new_one_has_nearly_all(
    conn: db.Conn, seed: Seed, example: Example
) -> None:
    photos = [
        seed.analyzed(f"{n}.jpg", picture(f"#00{n * 40:02x}00"), Look(vector=(1.0, n / 10, 0.0)))
        for n in range(4)
    ]

    def alike() -> list[str]:
        hits = search.by_likeness(conn, OWNER, UUID(photos[0].photo_id), 10)
        return [hit.photo.file_name or "" for hit in hits or []]

    assert alike() == ["1.jpg", "2.jpg", "3.jpg"]
    # The new version orders them the other way around.
    for number, photo in enumerate(photos):
        vector(conn, example, photo.photo_id, "new@1", 1.0, (4 - number if number else 0) / 10)
        if number < 3:
            assert alike() == ["1.jpg", "2.jpg", "3.jpg"]
    assert alike() == ["3.jpg", "2.jpg", "1.jpg"]


def test_photos_without_the_active_version_are_asked_for_once_and_a_few_at_a_time(
    conn: db.Conn,
    outbox: Outbox,
    codec: Codec,
    seed: Seed,
    example: Example,
    report: Callable[..., None],
) -> None:
    photos = {seed.analyzed(f"{n}.jpg", picture(f"#0000{n * 40:02x}")).photo_id for n in range(5)}
    seed.requested("not-embedded.jpg", picture("red"))
    report("embedder-bulk@a:1", name="embedder", version="stub@1")
    made, _ = models.register(conn, wanted(name="embedder", options={}))
    reembedder = Reembedder(outbox, in_flight=3)
    assert reembedder.turn(conn) == 0  # nothing was activated
    generation = models.activate(conn, outbox, "embedder", made.version, ADA).generation
    assert reembedder.turn(conn) == 0  # the version before would answer
    report("embedder-bulk@a:1", name="embedder", version="stub@2", generation=generation)
    assert reembedder.turn(conn) == 0  # so would what a service was set to since
    report("embedder-bulk@a:1", name="embedder", version=made.version, generation=generation)

    def asked() -> list[Mapping[str, Any]]:
        rows = conn.execute(
            "SELECT value FROM outbox WHERE topic = %s", (names.PHOTO_EMBEDDING_REQUESTED,)
        )
        return [codec.decode(names.PHOTO_EMBEDDING_REQUESTED, row["value"]) for row in rows]

    assert [reembedder.turn(conn) for _ in range(3)] == [3, 0, 0]
    for event in asked():
        vector(conn, example, event["photo_id"], made.version, 0.6, 0.8)
    assert [reembedder.turn(conn) for _ in range(3)] == [2, 0, 0]
    assert {event["photo_id"] for event in asked()} == photos
    assert {event["model_version"] for event in asked()} == {made.version}

    progress = reembedding.progress(conn, OWNER, made.version)
    assert (progress.photos, progress.embedded, progress.waiting) == (5, 3, 2)


def test_a_photo_that_could_not_be_embedded_again_is_counted_and_not_asked_for_for_ever(
    conn: db.Conn, outbox: Outbox, seed: Seed, example: Example
) -> None:
    photo = seed.analyzed("a.jpg", picture()).photo_id
    first = UUID(int=0)
    assert reembedding.ask(conn, outbox, "new@1", first, 10) == (1, None)
    assert reembedding.ask(conn, outbox, "new@1", first, 10) == (0, None)
    failed: Any = example(
        names.PHOTO_REEMBEDDED,
        **{"owner": OWNER, "photo_id": photo, "asked_version": "new@1", "vector": []},
        model_version="new@1",
        error="The model could not look at this photo.",
    )
    reembedding.record_reembedded(conn, failed)

    assert reembedding.ask(conn, outbox, "new@1", first, 10) == (0, None)
    progress = reembedding.progress(conn, OWNER, "new@1")
    assert (progress.embedded, progress.waiting, progress.failed) == (0, 0, 1)


def test_an_answer_by_the_version_before_is_none_and_the_photo_is_asked_for_again(
    conn: db.Conn, outbox: Outbox, seed: Seed, example: Example
) -> None:
    photo = seed.analyzed("a.jpg", picture()).photo_id
    assert reembedding.ask(conn, outbox, "new@1", UUID(int=0), 10) == (1, None)
    late: Any = example(
        names.PHOTO_REEMBEDDED,
        **{"owner": OWNER, "photo_id": photo, "asked_version": "new@1"},
        model_version="stub@1",
    )
    reembedding.record_reembedded(conn, late)

    assert reembedding.progress(conn, OWNER, "new@1").waiting == 0
    assert reembedding.ask(conn, outbox, "new@1", UUID(int=0), 10) == (1, None)


def test_a_request_that_got_lost_is_made_again(conn: db.Conn, outbox: Outbox, seed: Seed) -> None:
    seed.analyzed("a.jpg", picture())
    assert reembedding.ask(conn, outbox, "new@1", UUID(int=0), 10) == (1, None)
    conn.execute("UPDATE embedding_requests SET requested_at = now() - interval '2 h'")
    assert reembedding.ask(conn, outbox, "new@1", UUID(int=0), 10) == (1, None)


# By the API


def put(client: httpx.Client, data: bytes, sha256: str = "") -> httpx.Response:
    sha256 = sha256 or hashlib.sha256(data).hexdigest()
    return client.put(f"/v1/model-files/{sha256}", content=data)


def test_a_checkpoint_is_sent_registered_activated_and_rolled_back(
    client: httpx.Client, report: Callable[..., None], objects: Path
) -> None:
    report()
    data = b"weights" * 1000
    sha256 = hashlib.sha256(data).hexdigest()
    file = {"path": "model.safetensors", "sha256": sha256, "byte_size": len(data)}
    body = {"engine": "siglip", "files": [file], "licence": "Apache-2.0", "by": "ada"}

    missing = client.post("/v1/models/detector/versions", json=body)
    assert (missing.status_code, missing.json()["code"]) == (422, "files_missing")
    assert missing.json()["missing"] == [sha256]
    assert [put(client, data).status_code for _ in range(2)] == [201, 200]
    made = client.post("/v1/models/detector/versions", json=body)
    again = client.post("/v1/models/detector/versions", json=body)
    assert (made.status_code, again.status_code) == (201, 200)
    version = made.json()["version"]
    stored = [path for path in (objects / "models").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in stored] == [data]

    change = client.post("/v1/models/detector/activate", json={"version": version, "by": "ada"})
    assert (change.status_code, change.json()["generation"]) == (200, 2)
    shown = client.get("/v1/models/detector").json()
    assert (shown["active"], shown["everywhere"]) == (version, False)
    assert shown["waiting_for"] == ["detector-bulk@a:1"]
    back = client.post("/v1/models/detector/rollback", json={"by": "ada"})
    assert back.json()["version"] == BUILT_IN
    listed = {one["name"]: one for one in client.get("/v1/models").json()["items"]}
    assert set(listed) == {"detector", "ocr", "embedder"}
    assert listed["detector"]["generation"] == 3
    what = [one["what"] for one in client.get("/v1/audit").json()["items"]]
    assert what == ["model.rolled_back", "model.activated", "model.registered"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": [{"path": "sub/pytorch_model.bin"}]}, "sub/pytorch_model.bin: weights as saf"),
        ({"engine": "auto"}, "one of the stage's built-in engines"),
        ({"engine": "siglip+owlv2"}, "one of the stage's built-in engines"),
        ({"files": [{"path": "../model.safetensors"}]}, "a path below the checkpoint's folder"),
        ({"files": [{"path": "/model.safetensors"}]}, "a path below the checkpoint's folder"),
        ({"engine": "os:system", "options": {"a": "b"}}, "one of the stage's built-in engines"),
        ({"options": {"a": "x" * 200_001}}, "at most 200000 characters"),
    ],
)
def test_a_version_that_could_do_harm_or_means_nothing_is_refused(
    client: httpx.Client, change: Mapping[str, Any], said: str
) -> None:
    body: dict[str, Any] = {"engine": "siglip", **change}
    for file in body.get("files", ()):
        file.update({"sha256": "0" * 64, "byte_size": 1})
    answer = client.post("/v1/models/detector/versions", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_an_engine_as_it_comes_can_be_registered_and_that_it_is_unchecked_is_told(
    client: httpx.Client, report: Callable[..., None]
) -> None:
    report()  # of the detector
    report("ocr-bulk@a:1", name="ocr", engines=[], options={})  # by an older ocr
    made = client.post("/v1/models/ocr/versions", json={"engine": "easyocr"})
    assert (made.status_code, made.json()["built_in"]) == (201, False)
    assert "no replica of ocr has said yet" in made.json()["unchecked"]


@pytest.mark.parametrize(
    ("body", "code", "said", "known"),
    [
        (
            {"engine": "siglib"},
            "unknown_engine",
            "siglib is no engine of this model; there are: efficientnet-lite0, siglip."
            " Did you mean siglip?",
            ["efficientnet-lite0", "siglip"],
        ),
        (
            {"engine": "siglip", "options": {"detector_lables": "3"}},
            "unknown_option",
            "detector_lables is no option of this model; there are: detector_label_list,"
            " detector_labels. Did you mean detector_labels?",
            ["detector_label_list", "detector_labels"],
        ),
        (
            {"engine": "siglip", "options": {"detector_labels": "101"}},
            "bad_option",
            "detector_labels: Input should be less than or equal to 100",
            None,
        ),
    ],
)
def test_what_is_misspelt_is_refused_with_what_there_is_and_nothing_is_registered(
    client: httpx.Client,
    report: Callable[..., None],
    body: Mapping[str, Any],
    code: str,
    said: str,
    known: list[str] | None,
) -> None:
    report()
    file = {"path": "model.safetensors", "sha256": "0" * 64, "byte_size": 1}
    answer = client.post("/v1/models/detector/versions", json={**body, "files": [file]})

    found = answer.json()
    assert (answer.status_code, found["code"], found["detail"]) == (422, code, said)
    assert found.get("known") == known
    versions = client.get("/v1/models/detector").json()["versions"]
    assert [one["version"] for one in versions] == [BUILT_IN]


def test_what_replicas_say_that_there_is_can_be_registered_and_is_checked(
    client: httpx.Client, report: Callable[..., None]
) -> None:
    report()
    body = {"engine": "siglip", "options": {"detector_labels": "3"}}
    made = client.post("/v1/models/detector/versions", json=body)
    assert (made.status_code, made.json()["unchecked"]) == (201, None)


def test_the_newest_word_of_a_stage_holds_and_silence_takes_nothing_back(
    conn: db.Conn, example: Example
) -> None:
    at = datetime.now(UTC)

    def say(seconds: int, *engines: str) -> None:
        about = {"name": "detector", "reported_at": at + timedelta(seconds=seconds)}
        value: Any = example(names.MODEL_REPORTED, engines=list(engines), **about)
        model_reports.record_reports(conn, value)

    say(1, "siglip", "next")
    say(0, "siglip")  # comes late
    say(2)  # a replica of before it was told

    assert model_options.check(conn, wanted(engine="next")) is None
    say(3, "siglip")
    with pytest.raises(RegistryError, match="next is no engine of this model; there are: siglip"):
        model_options.check(conn, wanted(engine="next"))


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_file_that_has_gone_or_was_changed_is_stored_anew(
    client: httpx.Client, objects: Path, damage: str
) -> None:
    data = b"weights" * 1000
    assert put(client, data).status_code == 201
    (stored,) = (path for path in (objects / "models").rglob("*") if path.is_file())
    stored.unlink()
    if damage == "changed":
        stored.write_bytes(b"otherly" * 1000)

    assert [put(client, data).status_code for _ in range(2)] == [201, 200]

    left = [path for path in (objects / "models").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in left] == [data]


def test_bytes_that_came_wrong_are_not_kept(client: httpx.Client, objects: Path) -> None:
    answer = put(client, b"half", "0" * 64)
    assert (answer.status_code, answer.json()["code"]) == (409, "other_bytes")
    assert not (objects / "models").exists()


def test_refusals_of_the_registry_have_their_codes(
    client: httpx.Client, report: Callable[..., None]
) -> None:
    report()
    unknown = client.post("/v1/models/detector/activate", json={"version": "no@version"})
    nothing = client.post("/v1/models/ocr/rollback", json={})
    vectors = client.post("/v1/models/embedder/shadow", json={"version": "a@b"})
    nobody = client.get("/v1/models/painter")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_version")
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_before")
    assert (vectors.status_code, vectors.json()["code"]) == (409, "not_comparable")
    assert nobody.status_code == 422

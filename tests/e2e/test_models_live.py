"""Versions of models that change while the system works: nothing lost, nothing mixed."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import tiny_checkpoints
from darkroom_cli.client import Gateway
from darkroom_cli.door import allow
from darkroom_cli.models_door import ModelsDoor
from darkroom_cli.stack import Stack

WITHIN_S = 120.0
FEW = 3
"""Labels that the other version keeps; the packaged one keeps 5."""

Json = dict[str, Any]
Importing = Callable[[int], "NewImport"]


def until(true: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WITHIN_S
    while not (found := true()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def registry(system: Stack) -> ModelsDoor:
    return ModelsDoor(Gateway(system.addresses["api"]))


@pytest.fixture(scope="module")
def built_in(registry: ModelsDoor) -> str:
    """The version of the detector that the services bring along."""
    found = until(lambda: registry.one("detector")["active"], "a detector reports itself")
    return str(found)


@pytest.fixture(scope="module")
def other(registry: ModelsDoor, built_in: str) -> str:
    """Another version of the detector."""
    wanted = {
        **{"engine": "efficientnet-lite0", "options": {"detector_labels": str(FEW)}},
        **{"by": "test", "licence": "Apache-2.0"},
    }
    made = registry.register("detector", wanted, None, lambda _: None)
    return str(made["version"])


class NewImport:
    """An import of photos that nobody has handed in before."""

    def __init__(self, api: httpx.Client, batch: Json) -> None:
        self._api = api
        self.batch_id = batch["batch_id"]

    def progress(self) -> Json:
        found: Json = self._api.get(f"/v1/imports/{self.batch_id}").json()
        return found

    def finished(self) -> Json:
        def over() -> Json | None:
            found = self.progress()
            return found if found["state"].startswith("completed") else None

        found: Json = until(over, "the import completes")
        return found

    def photos(self) -> Iterator[Json]:
        query: dict[str, Any] = {"limit": 200}
        while True:
            page = self._api.get(f"/v1/imports/{self.batch_id}/photos", params=query).json()
            yield from (item["photo"] for item in page["items"])
            if page["next"] is None:
                return
            query["cursor"] = page["next"]


@pytest.fixture(scope="module")
def importing(
    system: Stack, api: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Importing:
    numbers = itertools.count()

    def begin(photos: int) -> NewImport:
        folder = tmp_path_factory.mktemp("photos")
        for number in itertools.islice(numbers, photos):
            _photo(number).save(folder / f"{number}.jpg")
        allow([folder], system.data)
        answer = api.post("/v1/imports", json={"paths": [str(folder)]})
        assert answer.status_code == 202, answer.text
        return NewImport(api, answer.json())

    return begin


def _photo(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((240, 240), Image.Resampling.BICUBIC)


def kinds(photos: Sequence[Json]) -> set[tuple[str, int]]:
    """Which versions made the detector's parts, each with the number of its labels."""
    return {
        (photo["stages"]["detector"]["model_version"], len(photo["labels"])) for photo in photos
    }


def test_a_version_is_activated_and_rolled_back_under_load(
    registry: ModelsDoor, importing: Importing, built_in: str, other: str
) -> None:
    batch = importing(90)
    until(lambda: batch.progress()["accepted"] >= 10, "photos are analysed")
    change = registry.change("detector", "activate", {"version": other, "by": "test"})
    registry.everywhere("detector", change["generation"], WITHIN_S, lambda _: None)
    under_way = batch.progress()
    after = importing(10)
    until(lambda: batch.progress()["accepted"] > under_way["accepted"] + 5, "it goes on")
    back = registry.change("detector", "rollback", {"by": "test", "reason": "a test"})
    registry.everywhere("detector", back["generation"], WITHIN_S, lambda _: None)
    again = importing(10)

    photos = [list(one.photos()) for one in (batch, after, again) if one.finished()]

    assert [len(one) for one in photos] == [90, 10, 10]
    everything = [photo for some in photos for photo in some]
    assert {photo["status"] for photo in everything} == {"analyzed"}
    assert not any(photo["partial"] for photo in everything)
    assert kinds(everything) == {(built_in, 5), (other, FEW)}
    assert kinds(photos[2]) == {(built_in, 5)}, "the barrier holds"


def test_a_version_that_no_replica_can_load_leaves_the_one_before_at_work(
    registry: ModelsDoor, importing: Importing, built_in: str
) -> None:
    wanted = {"engine": "siglip", "options": {"detector_labels": "3"}, "by": "test"}
    made = registry.register("detector", wanted, None, lambda _: None)
    before = registry.one("detector")["active"]
    registry.change("detector", "activate", {"version": made["version"], "by": "test"})

    def failed() -> list[Json]:
        live = [one for one in registry.one("detector")["replicas"] if one["live"]]
        told = [one for one in live if one["state"] == "failed"]
        return told if len(told) == len(live) else []

    told = until(failed, "every replica says why")
    batch = importing(5)
    photos = list(batch.photos()) if batch.finished() else []
    registry.change("detector", "rollback", {"by": "test"})

    assert all("detector_checkpoint" in one["message"] for one in told)
    assert {one["version"] for one in told} == {before}
    assert kinds(photos) == {(before, 5)}


def test_a_shadow_is_compared_and_never_shown(
    registry: ModelsDoor, importing: Importing, built_in: str, other: str
) -> None:
    change = registry.change("detector", "shadow", {"version": other, "share": 1.0, "by": "test"})
    registry.everywhere("detector", change["generation"], WITHIN_S, lambda _: None)
    batch = importing(8)
    photos = list(batch.photos()) if batch.finished() else []
    report = until(
        lambda: (found := registry.shadow_report("detector", other, 10))["photos"] >= 8 and found,
        "all are compared",
    )
    registry.change("detector", "shadow", {"version": None, "by": "test"})

    assert kinds(photos) == {(built_in, 5)}
    assert (report["photos"], report["agreed"], report["failed"]) == (8, 8, 0)
    assert 0 < report["mean_difference"] < 1  # it keeps fewer labels
    assert report["shadow_ms"] > 0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SigLIP of a few neurons: real files, meaningless vectors."""
    return tiny_checkpoints.siglip(tmp_path_factory.mktemp("siglip") / "checkpoint")


def test_photos_are_embedded_again_by_another_version_and_found_meanwhile(
    registry: ModelsDoor, api: httpx.Client, importing: Importing, checkpoint: Path
) -> None:
    batch = importing(12)
    photos = list(batch.photos()) if batch.finished() else []
    before = {photo["stages"]["embedder"]["model_version"] for photo in photos}

    def alike() -> int:
        query = {"like": photos[0]["photo_id"], "limit": 200}
        return len(api.get("/v1/search", params=query).json()["items"])

    known = alike()
    made = registry.register(
        "embedder", {"engine": "siglip", "by": "test"}, checkpoint, lambda _: None
    )
    change = registry.change("embedder", "activate", {"version": made["version"], "by": "test"})

    def progress() -> Json:
        found: Json = registry.one("embedder")["reembedding"]
        # The new version is searched once it has embedded 99 % as many photos, this one among them.
        assert alike() + 1 >= 0.99 * (known + 1), "the search is never emptied"
        return found

    registry.everywhere("embedder", change["generation"], WITHIN_S, lambda _: None)
    done = until(
        lambda: (found := progress())["embedded"] == found["photos"] and found,
        "all photos are embedded again",
    )
    assert alike() >= known, "in the end nothing is missing"
    fresh = importing(2)
    new = list(fresh.photos()) if fresh.finished() else []
    query = {"like": new[0]["photo_id"], "limit": 200}
    hits = api.get("/v1/search", params=query).json()["items"]
    registry.change("embedder", "rollback", {"by": "test"})

    assert before.isdisjoint({made["version"]})
    assert (done["version"], done["failed"]) == (made["version"], 0)
    assert done["photos"] >= 12
    assert {photo["stages"]["embedder"]["model_version"] for photo in new} == {made["version"]}
    assert new[0]["embedding_dim"] != photos[0]["embedding_dim"]
    # Photos that only the first version saw in their analysis are found beside a new one.
    assert {photo["photo_id"] for photo in photos} <= {hit["photo"]["photo_id"] for hit in hits}
    # What was decided of them is as it was.
    again = [api.get(f"/v1/photos/{photo['photo_id']}").json() for photo in photos]
    assert [one["revision"] for one in again] == [photo["revision"] for photo in photos]
    assert [one["outcome"] for one in again] == [photo["outcome"] for photo in photos]

"""The user's own labels, learned by the running system: nobody does more than give examples."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom_cli.client import Gateway
from darkroom_cli.door import allow
from darkroom_cli.stack import Stack
from drawn_shapes import DRAWN, picture

SET = "shapes"
WITHIN_S = 180.0
EXAMPLES = 6
"""Of each label: one more than is enough."""
OTHERS = 40
"""Photos that nobody says anything about; with the examples more than 50."""

Json = dict[str, Any]


def until(found: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WITHIN_S
    while not (result := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return result


def over(api: httpx.Client, batch_id: str) -> Json | None:
    batch: Json = api.get(f"/v1/imports/{batch_id}").json()
    return batch if batch["state"].startswith("completed") else None


def photos_of(api: httpx.Client, batch_id: str) -> Iterator[tuple[str, Json]]:
    """By the label that each shows, as its file's name says."""
    page = api.get(f"/v1/imports/{batch_id}/photos", params={"limit": 200}).json()
    for item in page["items"]:
        yield item["photo"]["file_name"].partition("-")[0], item["photo"]


@pytest.fixture(scope="module")
def import_id(api: httpx.Client, system: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An import of more than 50 photos, of which some are examples before it is over."""
    folder = tmp_path_factory.mktemp("shapes")
    for label in DRAWN:
        for number in range(EXAMPLES + OTHERS // 2):
            kind = "examples" if number < EXAMPLES else "others"
            place = folder / kind / label / f"{label}-{number}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            picture(label, number).save(place)
    api.put(f"/v1/labels/{SET}", json={"labels": sorted(DRAWN)}).raise_for_status()
    allow([folder], system.data)
    gateway = Gateway(system.addresses["api"])
    begun = gateway.start_import([folder], "batch")
    folders = {str(folder / "examples" / label): label for label in DRAWN}
    wanted = {"batch_id": begun["batch_id"], "folders": folders}

    def taken() -> bool:
        said = api.post(f"/v1/labels/{SET}/examples/import", json=wanted).raise_for_status().json()
        return bool(said["changed"] + said["unchanged"] == len(DRAWN) * EXAMPLES)

    until(taken, "the examples are handed in")
    until(lambda: over(api, begun["batch_id"]), "the import completes")
    return str(begun["batch_id"])


def test_an_import_teaches_the_system_and_its_photos_are_labelled_by_what_it_learned(
    api: httpx.Client, import_id: str, tmp_path: Path
) -> None:
    def ended() -> Json | None:
        found = api.get("/v1/trainings", params={"model": SET}).json()["items"]
        return next((one for one in found if one["batch_id"] and one["ended_at"]), None)

    training = until(ended, "the import's training ends")
    assert (training["state"], training["reason"]) == ("published", "batch"), training
    assert training["batch_id"] == import_id
    assert training["accuracy"] > 0.8

    def everywhere() -> Json | None:
        model: Json = api.get(f"/v1/models/head:{SET}").json()
        done = model["rescoring"] is not None and model["rescoring"]["state"] == "done"
        return model if model["everywhere"] and done else None

    model = until(everywhere, "every replica has the version, and all photos are looked at")
    assert model["active"] == training["version"]

    def relabelled() -> list[tuple[str, Json]] | None:
        found = list(photos_of(api, import_id))
        own = [one for one in found if one[1]["own_labels"]]
        return found if len(own) >= 0.8 * len(found) else None

    found = until(relabelled, "the photos of before are labelled by it")
    labelled = [(true, one) for true, one in found if one["own_labels"]]
    assert {one["own_labels"][0]["version"] for _, one in labelled} == {training["version"]}
    assert {one["revision"] for _, one in labelled} == {2}
    right = sum(true == one["label"] for true, one in labelled)
    assert right >= 0.9 * len(labelled), (right, len(labelled))
    assert {one["outcome"] for _, one in labelled} <= {"auto_labeled", "suggested", "review"}

    picture("rings", 1_000).save(tmp_path / "new.jpg")
    new = Gateway(str(api.base_url)).analyze(tmp_path / "new.jpg")
    assert (new["own_labels"][0]["name"], new["own_labels"][0]["version"]) == (
        "rings",
        training["version"],
    )
    batch = api.get(f"/v1/imports/{import_id}").json()
    assert (batch["accepted"], batch["pending"]) == (len(found), 0), "no photo has two ends"

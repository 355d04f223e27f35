"""One photo, by REST and by the command, from the upload to the search."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from darkroom_cli.sample import DOCUMENT_LINES, SampleManifest
from darkroom_cli.stack import Stack

NOW = {"Prefer": "wait=60"}


def upload(api: httpx.Client, file: Path, **headers: str) -> httpx.Response:
    return api.post(
        "/v1/photos",
        content=file.read_bytes(),
        params={"file_name": file.name},
        headers=headers,
    )


def darkroom(system: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "darkroom_cli", *arguments, "--url", system.addresses["api"]]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


@pytest.fixture(scope="module")
def cat(api: httpx.Client, photo: Path) -> dict[str, Any]:
    answer = upload(api, photo, **NOW)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_photo_is_answered_with_what_is_in_it(cat: dict[str, Any]) -> None:
    assert cat["status"] == "analyzed"
    assert cat["category"] == "cat"
    assert "cat" in cat["labels"][0]["name"]
    confidences = [label["confidence"] for label in cat["labels"]]
    assert confidences == sorted(confidences, reverse=True)
    assert cat["confidence"] == confidences[0]
    assert cat["calibrated"] is False
    assert cat["embedding_dim"] == 1280
    assert set(cat["stages"]) == {"detector", "ocr", "embedder"}
    assert cat["outcome"] in ("auto_labeled", "suggested", "review")


def test_its_pictures_are_served(api: httpx.Client, cat: dict[str, Any], photo: Path) -> None:
    original = api.get(cat["links"]["original"])
    assert original.content == photo.read_bytes()
    for name in ("thumbnail", "rendition"):
        answer = api.get(cat["links"][name])
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_same_photo_again_is_not_analysed_again(
    api: httpx.Client, cat: dict[str, Any], photo: Path
) -> None:
    again = upload(api, photo)
    assert again.status_code == 200
    assert again.json()["duplicate_of"] == cat["photo_id"]
    assert again.json()["analysis_id"] == cat["analysis_id"]


def test_without_a_preference_the_answer_comes_by_websocket(
    system: Stack, api: httpx.Client, sample: SampleManifest
) -> None:
    answer = upload(api, sample.folder / "document.jpg")
    assert answer.status_code == 202
    pending = answer.json()
    assert pending["status"] == "pending"
    events = system.addresses["api"].replace("http", "ws")
    with connect(f"{events}/v1/events?photo={pending['photo_id']}") as socket:
        photo = {"status": "pending"}
        while photo["status"] == "pending":
            photo = json.loads(socket.recv(timeout=60))["photo"]
    assert photo["text"].splitlines() == list(DOCUMENT_LINES)


def test_a_torn_file_is_refused_with_a_reason(api: httpx.Client, sample: SampleManifest) -> None:
    answer = upload(api, sample.folder / "cut-off.jpg", **NOW)
    torn = answer.json()
    assert torn["status"] == "rejected"
    assert torn["error"]["code"] == "image_truncated"
    assert torn["outcome"] is None


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("empty.jpg", 422, "empty_file"),
        ("shopping-list.jpg", 415, "not_an_image"),
        ("claims-900-megapixels.png", 422, "too_many_pixels"),
    ],
)
def test_what_the_header_tells_is_refused_at_once(
    api: httpx.Client, sample: SampleManifest, name: str, status: int, code: str
) -> None:
    answer = upload(api, sample.folder / name)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_it_is_found_by_its_label_and_by_likeness(
    system: Stack, cat: dict[str, Any], photo: Path, sample: SampleManifest
) -> None:
    found = json.loads(darkroom(system, "search", "tiger cats", "--json").stdout)
    # Other tests have handed in cats, too.
    assert cat["photo_id"] in {hit["photo"]["photo_id"] for hit in found}
    alike = darkroom(system, "search", "--like", str(sample.folder / "rocket.jpg"), "--json")
    scores = [hit["score"] for hit in json.loads(alike.stdout)]
    assert scores == sorted(scores, reverse=True)


def test_the_command_analyses_a_file_and_shows_it(system: Stack, sample: SampleManifest) -> None:
    done = darkroom(system, "analyze", str(sample.folder / "coffee.png"), "--json")
    assert done.returncode == 0, done.stderr
    coffee = json.loads(done.stdout)
    assert coffee["labels"][0]["name"] == "espresso"
    shown = darkroom(system, "photo", coffee["photo_id"])
    assert "espresso" in shown.stdout


def test_the_command_says_why_a_file_is_refused(system: Stack, sample: SampleManifest) -> None:
    done = darkroom(system, "analyze", str(sample.folder / "shopping-list.jpg"))
    assert done.returncode == 1
    assert "not" in done.stderr
    assert "Traceback" not in done.stderr

"""Wherever the api door tells a confidence, it tells whether that was calibrated."""

import csv
from typing import Any

import httpx
import pytest

from catalog_seed import Look, Seed, picture
from darkroom_cli.demo import API_DESCRIPTION


@pytest.fixture
def photos(seed: Seed) -> dict[str, Any]:
    """A photo of each kind, and their import."""
    sure = seed.analyzed("sure.jpg", picture("red"), Look([("cup", 0.9)], calibrated=True))
    unsure = seed.analyzed("unsure.jpg", picture("blue"), Look([("cup", 0.7)]))
    batch = seed.batch([sure, unsure], {"auto_labeled": 2, "total": 2})
    return {"sure": sure.photo_id, "unsure": unsure.photo_id, "batch": batch}


def marks(items: list[dict[str, Any]]) -> dict[float, bool]:
    """By confidence, which tells the photos apart."""
    return {item["confidence"]: item["calibrated"] for item in items}


def test_a_photo_says_whether_its_confidence_is_calibrated(
    client: httpx.Client, photos: dict[str, Any]
) -> None:
    told = [client.get(f"/v1/photos/{photos[name]}").json() for name in ("sure", "unsure")]
    assert marks(told) == {0.9: True, 0.7: False}


def test_a_list_and_a_search_say_it_of_every_photo(
    client: httpx.Client, photos: dict[str, Any]
) -> None:
    assert marks(client.get("/v1/photos").json()["items"]) == {0.9: True, 0.7: False}
    hits = client.get("/v1/search", params={"q": "cup"}).json()["items"]
    assert marks([hit["photo"] for hit in hits]) == {0.9: True, 0.7: False}


def test_both_reports_of_an_import_say_it(client: httpx.Client, photos: dict[str, Any]) -> None:
    text = client.get(f"/v1/imports/{photos['batch']}/report.csv").text
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["confidence"], row["calibrated"]) for row in rows] == [
        ("0.9000", "yes"),
        ("0.7000", "no"),
    ]
    page = client.get(f"/v1/imports/{photos['batch']}/report.html").text
    assert ">90 %<" in page
    assert 'title="uncalibrated">≈ 70 %<' in page


def test_the_description_of_the_api_says_what_uncalibrated_means(client: httpx.Client) -> None:
    shapes = client.get(API_DESCRIPTION).json()["components"]["schemas"]
    told = shapes["Photo"]["properties"]["calibrated"]["description"]
    assert "at least 200 labelled photos" in told
    assert "uncalibrated" in told
    for name in ("DetectedObject", "Line", "Word"):
        assert "uncalibrated" in shapes[name]["description"]

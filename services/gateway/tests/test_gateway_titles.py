"""What an import is of, in a few words."""

from typing import Any

import pytest

from gateway.catalog.titles import title_of


@pytest.mark.parametrize(
    ("kind", "roots", "location", "title"),
    [
        ("folder", ["/home/ada/Pictures"], {}, "Pictures"),
        ("folder", ["/a/Pictures/", "/b/Scans"], {}, "Pictures and Scans"),
        ("folder", ["/a/x", "/a/y", "/a/z"], {}, "x and 2 more"),
        ("folder", ["/"], {}, "/"),
        ("folder", ["/a/{0} %s"], {}, "{0} %s"),
        ("archive", ["file:///objects/77"], {"name": "trip.zip"}, "trip.zip"),
        ("store", ["s3://bucket/2026"], {"uri": "s3://bucket/2026"}, "s3://bucket/2026"),
        ("upload", ["Pictures, Scans"], {}, "Pictures, Scans"),
        ("upload", [], {}, "files sent by a client"),
        ("reprocess", [], {"filter": {"all": True}}, "photos again: all"),
        ("reprocess", [], {"filter": {"missing": "ocr"}}, "photos again: without ocr"),
        (
            "reprocess",
            [],
            {"filter": {"label": "{cat}", "other_than": {"stage": "ocr", "model": "x@2"}}},
            "photos again: “{cat}”, ocr not by x@2",
        ),
        ("reprocess", [], {"filter": {"photos": ["a", "b"]}}, "photos again: 2 chosen ones"),
    ],
)
def test_an_import_is_named_by_what_it_is_of(
    kind: str, roots: list[str], location: dict[str, Any], title: str
) -> None:
    assert title_of(kind, roots, location) == title

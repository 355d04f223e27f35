"""Versions of a model: which settings they set, and their files."""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from pydantic import Field

from stagekit import Options, StageSettings
from stagekit.versions import Activation, File, Version, VersionError, fetched
from streamkit import Reject


class Settings(StageSettings):
    demo_engine: str = "auto"
    demo_checkpoint: str = ""
    demo_boxes: str = ""
    demo_list: str = ""
    demo_calibration: str = ""
    demo_labels: int = Field(5, ge=1, le=9)
    demo_device: str = "cpu"
    demo_prompts: tuple[str, ...] = ("a",)


OPTIONS = Options(
    "demo_engine",
    paths=("demo_checkpoint", "demo_boxes"),
    files=("demo_list",),
    texts=("demo_calibration",),
    others=("demo_labels", "demo_prompts"),
)
HUB = f"owner/name@{'0' * 40}"


def version(files: tuple[File, ...] = (), **options: str) -> Version:
    return Version("siglip@0123456789ab", "siglip", options, files)


def test_a_version_sets_its_engine_and_options_and_leaves_the_machine_s_own_alone() -> None:
    own = Settings(demo_engine="other", demo_labels=7, demo_device="cuda:1", kafka="broker:9092")

    settings = OPTIONS.settings(own, version(demo_labels="3"), None)

    assert (settings.demo_engine, settings.demo_labels) == ("siglip", 3)
    assert (settings.demo_device, settings.kafka) == ("cuda:1", "broker:9092")


def test_what_a_version_does_not_set_has_its_default_however_the_service_was_started() -> None:
    own = Settings(demo_labels=7, demo_boxes="/elsewhere")

    settings = OPTIONS.settings(own, version(), None)

    assert (settings.demo_labels, settings.demo_boxes) == (5, "")


def test_checkpoints_lie_among_the_version_s_files(tmp_path: Path) -> None:
    whole = OPTIONS.settings(Settings(), version(), tmp_path)
    parts = OPTIONS.settings(
        Settings(), version(demo_checkpoint="./labels", demo_boxes="./boxes/detr"), tmp_path
    )
    hub = OPTIONS.settings(Settings(), version(demo_boxes=HUB), tmp_path)

    assert whole.demo_checkpoint == str(tmp_path)
    assert parts.demo_checkpoint == str(tmp_path / "labels")
    assert parts.demo_boxes == str(tmp_path / "boxes/detr")
    assert hub.demo_boxes == HUB


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"demo_device": "cuda:1"}, "demo_device is no option of this model; there are"),
        ({"demo_label": "3"}, r"demo_label is no option .* Did you mean demo_labels\?"),
        ({"kafka": "evil:9092"}, "kafka is no option"),
        ({"demo_labels": "99"}, "demo_labels: Input should be less than or equal to 9"),
        ({"demo_boxes": "/etc"}, "/etc lies outside the version's own files"),
        ({"demo_boxes": "./../../etc"}, "lies outside the version's own files"),
        ({"demo_boxes": "~/weights"}, "lies outside the version's own files"),
        ({"demo_boxes": "weights"}, "lies outside the version's own files"),
        ({"demo_boxes": "owner/name@main"}, "lies outside the version's own files"),
        ({"demo_list": "README.md"}, "lies outside the version's own files"),
        ({"demo_list": HUB}, "lies outside the version's own files"),
        ({"demo_calibration": "/etc/calibration.json"}, "has to be the JSON itself"),
    ],
)
def test_a_version_can_t_reach_beyond_its_options(
    options: Mapping[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(VersionError, match=said):
        OPTIONS.settings(Settings(), Version("v", "siglip", options), tmp_path)


def test_what_versions_may_be_is_told_by_the_settings_themselves() -> None:
    takes = replace(OPTIONS, engines=lambda: ["a", "b"]).takes(Settings)
    told = {name: json.loads(schema) for name, schema in takes.options.items()}

    assert takes.engines == ("a", "b")
    assert set(told) == set(OPTIONS.names)
    assert told["demo_labels"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert told["demo_prompts"] == {"type": "array", "items": {"type": "string"}}


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        *(("demo_boxes", value, True) for value in ("./boxes", "./", HUB)),
        *(("demo_boxes", value, False) for value in ("/etc", "boxes", "a/b@main", f"{HUB}x", "")),
        *(("demo_list", value, value == "./labels.txt") for value in ("./labels.txt", HUB, "a")),
        *(("demo_calibration", value, value[0] != "/") for value in (' {"n": 1}', "/etc/{")),
    ],
)
def test_what_is_told_of_files_is_what_is_taken(
    name: str, value: str, fits: bool, tmp_path: Path
) -> None:
    pattern = json.loads(OPTIONS.takes(Settings).options[name])["pattern"]
    assert (re.search(pattern, value) is not None) is fits
    if fits:
        assert OPTIONS.settings(Settings(), Version("v", "siglip", {name: value}), tmp_path)
    else:
        with pytest.raises(VersionError):
            OPTIONS.settings(Settings(), Version("v", "siglip", {name: value}), tmp_path)


def test_lists_are_json_as_in_the_environment() -> None:
    settings = OPTIONS.settings(Settings(), version(demo_prompts='["a photo of a {}", "b"]'), None)

    assert settings.demo_prompts == ("a photo of a {}", "b")
    with pytest.raises(VersionError, match="has to be JSON"):
        OPTIONS.settings(Settings(), version(demo_prompts="a photo"), None)


def test_a_part_of_no_files_is_told() -> None:
    with pytest.raises(VersionError, match=r"\./boxes is no file of this version, which has none"):
        OPTIONS.settings(Settings(), version(demo_boxes="./boxes"), None)


class Store:
    """Objects by URI; counts what is fetched."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fetched: list[str] = []

    def file(self, path: str, data: bytes) -> File:
        sha256 = hashlib.sha256(data).hexdigest()
        self.objects[sha256] = data
        return File(path, sha256, sha256)

    def open(self, uri: str) -> BinaryIO:
        self.fetched.append(uri)
        if uri not in self.objects:
            raise Reject("object_missing", "The file is not in the store.")
        return io.BytesIO(self.objects[uri])


def test_files_are_fetched_once_and_named_as_they_were_registered(tmp_path: Path) -> None:
    store = Store()
    files = (store.file("config.json", b"{}"), store.file("boxes/model.safetensors", b"weights"))

    folder = fetched(files, store.open, tmp_path)
    again = fetched(files, store.open, tmp_path)
    other = fetched((store.file("other/name.json", b"{}"),), store.open, tmp_path)

    assert folder is not None
    assert folder == again
    assert (folder / "config.json").read_bytes() == b"{}"
    assert (folder / "boxes/model.safetensors").read_bytes() == b"weights"
    assert other is not None
    assert other != folder
    assert (other / "name.json").exists() is False
    assert (other / "other/name.json").read_bytes() == b"{}"
    assert len(store.fetched) == 2  # the same bytes under another name are there


def test_a_version_without_files_has_no_folder(tmp_path: Path) -> None:
    assert fetched((), Store().open, tmp_path) is None


def test_bytes_that_are_not_those_that_were_registered_are_refused_and_not_kept(
    tmp_path: Path,
) -> None:
    store = Store()
    file = store.file("model.safetensors", b"weights")
    store.objects[file.uri] = b"other weights"

    with pytest.raises(VersionError, match=r"model\.safetensors is not the file that was regist"):
        fetched((file,), store.open, tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_missing_file_leaves_nothing_half(tmp_path: Path) -> None:
    file = File("model.safetensors", "nowhere", "0" * 64)

    with pytest.raises(VersionError, match=r"can't be had: .* Register the same folder again"):
        fetched((file,), Store().open, tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b"])
def test_no_path_leads_out_of_the_folder(path: str, tmp_path: Path) -> None:
    store = Store()
    file = store.file(path, b"x")

    with pytest.raises(VersionError, match="lies outside the version's folder"):
        fetched((file,), store.open, tmp_path)


def test_an_event_says_what_holds_and_what_looks_beside() -> None:
    def said(version: str) -> dict[str, object]:
        file = {"path": "a.json", "uri": "file:///a", "sha256": "ab", "byte_size": 2}
        return {
            "version": version,
            "engine": "siglip",
            "options": {"x": "1"},
            "files": [file],
            "built_in": False,
        }

    event = {"generation": 4, "active": said("a"), "shadow": said("b"), "shadow_share": 0.25}

    found = Activation.of(event)

    assert (found.generation, found.active.version, found.share) == (4, "a", 0.25)
    assert found.shadow is not None
    assert found.shadow.files == (File("a.json", "file:///a", "ab"),)
    assert found.active.built_in is False
    assert Activation.of({**event, "shadow": None}).shadow is None

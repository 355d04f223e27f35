"""The embedder's engine processes and the heads of its users, by the real broker and registry."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pytest
from PIL import Image

from darkroom_schemas import names
from darkroom_schemas.heads import ENGINE, FILE, head_name
from embedder.app import EMBEDDER
from embedder.settings import Settings
from heads import Head, Rejection
from infrastructure import Infrastructure
from model_topics import Example, ModelTopics
from stage_part import begun, request, whole
from stagekit import job, reporting
from streamkit import Handlers, Message, RawRecord

pytestmark = pytest.mark.long

WITHIN_S = 30.0
MODEL = "stub@1"
ANN, BOB = str(uuid5(NAMESPACE_URL, "ann")), str(uuid5(NAMESPACE_URL, "bob"))
PETS, ROOMS = head_name(ANN, "pets"), head_name(ANN, "rooms")


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def head(label: str, model_version: str = MODEL) -> bytes:
    """The file of a head that says `label` of whatever is red, else `other`."""
    means = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    rejection = Rejection(0.0, 0.0, 20.0)
    bias = np.zeros(2, np.float32)
    return Head((label, "other"), model_version, 20 * means, bias, means, 1.0, rejection).data


class Installation(ModelTopics):
    """Somebody who activates heads, and engine processes."""

    def __init__(self, infrastructure: Infrastructure, folder: Path, example: Example) -> None:
        super().__init__(infrastructure, folder, example)
        self.objects = folder / "objects"
        self.objects.mkdir()
        Image.new("RGB", (32, 32), (255, 0, 0)).save(self.objects / "red.png")

    def version(self, data: bytes, sha256: str | None = None) -> dict[str, Any]:
        """A head's version, its file in the store."""
        digest = hashlib.sha256(data).hexdigest()
        (self.objects / f"head-{digest}").write_bytes(data)
        file = {
            "path": FILE,
            "uri": f"{self.objects.as_uri()}/head-{digest}",
            "sha256": sha256 or digest,
            "byte_size": len(data),
        }
        about = {"engine": ENGINE, "options": {}, "files": [file], "built_in": False}
        return {"version": f"head@{digest[:12]}", **about}

    def activate(
        self,
        name: str,
        generation: int,
        active: Mapping[str, Any],
        shadow: Mapping[str, Any] | None = None,
    ) -> str:
        """Returns the version."""
        self.say(name, generation=generation, active=active, shadow=shadow, shadow_share=1.0)
        version: str = active["version"]
        return version

    def process(self) -> Handlers:
        """An engine process of the embedder, as it starts."""
        settings = Settings(
            **self.places,
            objects=self.objects.as_uri(),
            embedder_engine="stub_engines:embedder",
        )
        handlers = job(EMBEDDER, settings).handlers()
        self.ends.callback(handlers.close)
        return handlers

    def photo(self, owner: str = ANN) -> Message:
        message = request(f"{self.objects.as_uri()}/red.png")
        return replace(message, value={**message.value, "owner": owner})

    def labels(self, process: Handlers, owner: str = ANN) -> list[tuple[str, str, str]]:
        """Of the next photo: name, head and version of its labels."""
        part, *_ = whole(begun(process, self.photo(owner)))
        return [(one["name"], one["head"], one["head_version"]) for one in part.value["labels"]]

    def is_everywhere(self, generation: int) -> bool:
        """Whether every process says by its last report that it obeys this one."""
        last = {one["replica"]: one["heads"] for one in self.reports()}
        return all(heads == {PETS: generation} for heads in last.values())


@pytest.fixture
def installation(
    infrastructure: Infrastructure,
    tmp_path: Path,
    example: Example,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Installation]:
    replicas = count(1)  # they are threads of one process here
    monkeypatch.setattr(reporting, "replica_name", lambda: f"embedder-{next(replicas)}")
    made = Installation(infrastructure, tmp_path, example)
    yield made
    made.close()


def test_from_its_activation_on_a_head_labels_its_owner_s_photos_and_nobody_else_s(
    installation: Installation,
) -> None:
    process = installation.process()
    assert installation.labels(process) == []

    version = installation.activate(PETS, 1, installation.version(head("cat")))
    until(lambda: installation.labels(process), "the next photo has labels")

    best, other = installation.labels(process)
    assert (best, other[0]) == (("cat", PETS, version), "other")
    assert installation.labels(process, BOB) == []
    until(lambda: installation.reports()[-1]["heads"] == {PETS: 1}, "it is reported")
    late = installation.process()
    assert installation.labels(late) == [best, other]


def test_a_new_generation_labels_the_next_photo_and_is_reported_at_once(
    installation: Installation,
) -> None:
    installation.activate(PETS, 1, installation.version(head("cat")))
    process = installation.process()
    assert installation.reports()[-1]["heads"] == {PETS: 1}

    version = installation.activate(PETS, 2, installation.version(head("lynx")))

    until(lambda: installation.labels(process)[0] == ("lynx", PETS, version), "it is used")
    until(lambda: installation.reports()[-1]["heads"] == {PETS: 2}, "it is reported")
    assert installation.reports()[-1]["heads_failed"] == {}


def test_a_file_that_is_no_head_is_told_and_the_head_before_goes_on(
    installation: Installation,
) -> None:
    good = installation.activate(PETS, 1, installation.version(head("cat")))
    process = installation.process()

    installation.activate(PETS, 2, installation.version(b"no tensors at all"))
    installation.activate(ROOMS, 1, installation.version(head("kitchen"), sha256="0" * 64))
    until(lambda: len(installation.reports()[-1]["heads_failed"]) == 2, "both are told")

    failed = installation.reports()[-1]["heads_failed"]
    assert "no safetensors file" in failed[PETS]
    assert "is not the file that was registered" in failed[ROOMS]
    assert installation.reports()[-1]["heads"] == {PETS: 1}
    assert installation.labels(process)[0] == ("cat", PETS, good)
    installation.activate(PETS, 3, installation.version(head("lynx")))
    until(lambda: installation.labels(process)[0][0] == "lynx", "the next one is used")
    until(lambda: set(installation.reports()[-1]["heads_failed"]) == {ROOMS}, "it is told")


def test_what_can_t_be_read_is_passed_over_and_a_head_of_other_embeddings_labels_nothing(
    installation: Installation,
) -> None:
    installation.activate(PETS, 1, installation.version(head("cat")))
    process = installation.process()
    installation.publisher.publish_raw(
        [RawRecord(names.MODEL_ACTIVATED, PETS.encode(), value, []) for value in (b"junk", None)]
    )
    installation.activate(ROOMS, 1, installation.version(head("kitchen", "other@1")))

    until(lambda: installation.reports()[-1]["heads"] == {PETS: 1, ROOMS: 1}, "it goes on")
    assert [name for name, _, _ in installation.labels(process)] == ["cat", "other"]


def test_a_head_s_shadow_is_compared_by_the_name_of_the_head(installation: Installation) -> None:
    shadow = installation.version(head("lynx"))
    installation.activate(PETS, 1, installation.version(head("cat")), shadow)

    part, compared = whole(begun(installation.process(), installation.photo()))

    assert [one["name"] for one in part.value["labels"]] == ["cat", "other"]
    assert compared.topic == names.PHOTO_MODEL_COMPARED
    said = compared.value
    assert (said["stage"], said["shadow_version"]) == (PETS, shadow["version"])
    assert (said["active_says"], said["shadow_says"]) == ("cat", "lynx")


def test_no_photo_mixes_versions_while_heads_are_swapped_on_two_embedders_under_load(
    installation: Installation,
) -> None:
    """Each label is of the version that says so, and nothing that begins after a generation was
    reported by every process is labelled by an earlier one."""
    processes = (installation.process(), installation.process())
    label = {installation.activate(PETS, 1, installation.version(head("1"))): "1"}
    until(lambda: all(installation.labels(one) for one in processes), "both label")
    everywhere, stop, wrong = [1], threading.Event(), list[Any]()

    def work(process: Handlers) -> int:
        done = 0
        while not stop.is_set():
            at_least = everywhere[0]
            (name, _, version), _ = installation.labels(process)
            if label[version] != name or int(name) < at_least:
                wrong.append((name, version, at_least))
            done += 1
        return done

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, process) for process in processes * 2]
        try:
            for generation in range(2, 7):
                version = installation.version(head(str(generation)))
                label[version["version"]] = str(generation)
                installation.activate(PETS, generation, version)
                until(partial(installation.is_everywhere, generation), "both report it")
                everywhere[0] = generation
        finally:
            stop.set()
        assert all(one.result() for one in working)
    assert wrong == []

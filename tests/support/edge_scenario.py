"""Has every edge of the architecture carry something, by what people, operators and foreign
programs do. No edge is checked here: see `edge_evidence`."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import numpy as np
import psycopg
from PIL import Image

from darkroom_cli.stack import Stack
from darkroom_schemas import avro, catalogue, ids, names
from import_watch import photo
from late_store import LateStore
from streamkit import Codec, Emit, Publisher, RawRecord, SchemaIds, tracing
from streamkit.headers import next_span
from streamkit.kafka.log import KafkaLog

OWNER: Final = ids.LOCAL_OWNER
SET: Final = "colours"
WITHIN_S: Final = 100.0
_EXAMPLES: Final = 8
_TIERS: Final = ("3s",)

Json = dict[str, Any]
Example = Callable[..., Json]


def until(found: Callable[[], Any], what: str, within_s: float = WITHIN_S) -> Any:
    """What is found at last; fails where it never is."""
    deadline = time.monotonic() + within_s
    while not (result := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return result


def coloured(label: str, number: int) -> bytes:
    """A picture that is `red` or `blue`, of another tint than others: alike ones count as one."""
    chance = np.random.default_rng((number, len(label)))
    tint = chance.integers(0, 120, 3)
    tint[0 if label == "red" else 2] = 200
    pixels = tint + chance.integers(0, 50, (64, 64, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


class Scenario:
    """A running stack, and what is done with it."""

    def __init__(self, stack: Stack, folder: Path, example: Example, late: LateStore) -> None:
        self._stack = stack
        self._late = late
        self._folder = folder
        self._example = example
        self._numbers = iter(range(1_000))
        places = stack.addresses
        self._codec = Codec(SchemaIds(places["registry"], folder / "schemas"), avro.schema_of)
        self._others = Publisher(places["kafka"], source="others", codec=self._codec)
        self._log = KafkaLog(places["kafka"])
        self._api = httpx.Client(base_url=places["api"], timeout=60)
        self._inbox = stack.data.objects / "inbox"
        self._inbox.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Let go of everything."""
        self._others.close()
        self._api.close()

    # -- people ----------------------------------------------------------------------------------

    def ask(self, method: str, path: str, **given: Any) -> Json:
        """An answer of the gateway's, to a client that traces."""
        headers = {"traceparent": next_span(None), **given.pop("headers", {})}
        answer = self._api.request(method, path, headers=headers, **given)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return dict(answer.json()) if answer.content else {}

    def hand_in(self, lane: str = "high", *, bright: int = 128, wait: bool = True) -> Json:
        """Hand a new photo in, and wait for its outcome."""
        return self._handed_in(self._new_photo(bright), lane, wait=wait)

    def _handed_in(self, data: bytes, lane: str = "high", *, wait: bool = True) -> Json:
        one = self.ask("POST", "/v1/photos", params={"lane": lane}, content=data)

        def analyzed() -> Json | None:
            found = self.ask("GET", f"/v1/photos/{one['photo_id']}")
            return found if found["status"] == "analyzed" else None

        return dict(until(analyzed, "the photo has an outcome")) if wait else one

    def _new_photo(self, bright: int = 128) -> bytes:
        noise = np.random.default_rng(10_000 + next(self._numbers)).integers(-40, 40, (64, 96, 3))
        file = io.BytesIO()
        pixels = np.clip(noise + bright, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        return file.getvalue()

    def photos_of_every_lane_and_outcome(self) -> list[Json]:
        """Handed in by people."""
        found = [
            self.hand_in("high", bright=240),
            self.hand_in("default", bright=165),
            self.hand_in("batch", bright=20),
            self.hand_in("learning", bright=60),
        ]
        assert {one["outcome"] for one in found} == {"auto_labeled", "suggested", "review"}
        self.ask("POST", f"/v1/reviews/{found[2]['photo_id']}", json={"answer": "none"})
        return found

    def an_import_that_teaches(self) -> None:
        """An import with a file that is no photo; its end asks for a training, whose head labels
        its photos again."""
        folder = self._folder / "import"
        for label in ("red", "blue"):
            (folder / label).mkdir(parents=True)
            for number in range(_EXAMPLES):
                (folder / label / f"{number}.jpg").write_bytes(coloured(label, number))
        (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"no photo" * 10)
        self.ask("PUT", f"/v1/labels/{SET}", json={"labels": ["blue", "red"]})
        batch = self.ask("POST", "/v1/imports", json={"paths": [str(folder)]})["batch_id"]
        folders = {str(folder / label): label for label in ("red", "blue")}
        wanted = {"batch_id": batch, "folders": folders}

        def taken() -> bool:
            said = self.ask("POST", f"/v1/labels/{SET}/examples/import", json=wanted)
            return bool(said["changed"] + said["unchanged"] == 2 * _EXAMPLES)

        until(taken, "the examples are handed in")
        until(
            lambda: self.ask("GET", f"/v1/imports/{batch}")["state"].startswith("completed"),
            "the import completes",
        )

    def a_training_called_off(self) -> None:
        """By who asked for it."""
        asked = self.ask("POST", "/v1/trainings", json={"model": SET, "force": True})
        with contextlib.suppress(AssertionError):  # it may be over already
            self.ask("POST", f"/v1/trainings/{asked['request_id']}/cancel", json={})

    def a_head_is_trained(self) -> Json:
        """As a person asks for it; what the set was taught, once it holds and has looked at all
        photos."""
        self.ask("POST", "/v1/trainings", json={"model": SET, "force": True})

        def held() -> Json | None:
            asked = self._api.get(f"/v1/models/head:{SET}")
            model = asked.json() if asked.is_success else {}
            done = (model.get("rescoring") or {}).get("state") == "done"
            return model if model.get("active") and model["everywhere"] and done else None

        found: Json = until(held, "a head holds, and photos are labelled again")
        return found

    def another_head_looks_beside(self) -> None:
        """A second training's head is compared with the one that holds."""
        first = self.ask("GET", f"/v1/models/head:{SET}")["active"]
        for label in ("red", "blue"):
            one = self._handed_in(coloured(label, 100))
            example = {"photo_id": one["photo_id"], "label": label}
            self.ask("POST", f"/v1/labels/{SET}/examples", json=example)

        def second() -> str | None:
            versions = self.ask("GET", f"/v1/models/head:{SET}")["versions"]
            return next((one["version"] for one in versions if one["version"] != first), None)

        self.ask("POST", "/v1/trainings", json={"model": SET, "force": True})
        other = until(second, "another head is trained")
        now = self.ask("GET", f"/v1/models/head:{SET}")["active"]
        self.beside(f"head:{SET}", other if other != now else first)

    def beside(self, model: str, version: str) -> None:
        """Have a version look beside the one that holds, wherever that is."""
        self.ask("POST", f"/v1/models/{model}/shadow", json={"version": version, "share": 1.0})

        def there() -> bool:
            found = self.ask("GET", f"/v1/models/{model}")
            return all(one["shadow"] == version for one in found["replicas"] if one["live"])

        if not model.startswith("head:"):
            until(there, f"every replica of {model} has the other version")

    def other_versions(self) -> None:
        """Of detector and ocr beside those that hold; of the embedder instead of it, so that
        photos are embedded again."""
        for stage, engine in (("detector", "efficientnet-lite0"), ("ocr", "rapidocr")):
            self.beside(stage, self._registered(stage, engine))
        for bright in (90, 200):
            self.hand_in("default", bright=bright)

    def another_embedder(self) -> None:
        """From then on."""
        version = self._registered("embedder", "efficientnet-lite0")
        self.ask("POST", "/v1/models/embedder/activate", json={"version": version})

    def _registered(self, stage: str, engine: str) -> str:
        until(lambda: self.ask("GET", f"/v1/models/{stage}")["active"], f"{stage} reports itself")
        wanted = {"engine": engine, "licence": "Apache-2.0"}
        made = self.ask("POST", f"/v1/models/{stage}/versions", json=wanted)
        return str(made["version"])

    def another_policy(self) -> None:
        """Of confidence."""
        self.ask(
            "POST",
            "/v1/policy",
            json={"auto_above": 0.8, "review_below": 0.5, "labels": {}, "reason": "a test"},
        )

    def a_pause_and_what_is_called_off_meanwhile(self) -> None:
        """A photo and an import."""
        pause = {"paused": True, "reason": "a test"}
        self.ask("PATCH", "/v1/operations/controls/detector", json=pause)
        time.sleep(1.0)  # what was in hand goes on
        waits = self.hand_in(wait=False)
        folder = self._folder / "called-off"
        folder.mkdir()
        (folder / "one.jpg").write_bytes(photo(3, 9))
        batch = self.ask("POST", "/v1/imports", json={"paths": [str(folder)]})["batch_id"]
        until(lambda: self.ask("GET", f"/v1/imports/{batch}/photos")["items"], "it is under way")
        self.ask("POST", f"/v1/photos/{waits['photo_id']}/cancel", json={})
        self.ask("POST", f"/v1/imports/{batch}/cancel", json={})
        self.ask("DELETE", "/v1/operations/controls/detector")

    def failures_tried_again(self) -> None:
        """All that are in the inbox."""
        until(lambda: self.ask("GET", "/v1/failures")["count"], "something has failed")
        self.ask("POST", "/v1/failures/replay", json={"filter": {}, "lane": "learning"})

    # -- foreign programs ------------------------------------------------------------------------

    def say(self, topic: str, key: str, **fields: Any) -> None:
        """An event of somebody else's."""
        value = self._example(topic, **fields)
        self._others.publish([Emit(topic, key, value, str(uuid4()))])

    def garbage(self, topic: str) -> None:
        """A record that nobody can read."""
        headers = [("traceparent", tracing.published(topic).encode())]
        self._others.publish_raw([RawRecord(topic, str(uuid4()).encode(), b"\xff?", headers)])

    def foreign_photos(self) -> None:
        """In every lane, and one that is none."""
        for lane in names.LANES:
            self._submit(lane, self._new_photo())
        self._submit("default", b"this is no photo")

    def _submit(self, lane: str, data: bytes, uri: str = "") -> None:
        digest = hashlib.sha256(data).hexdigest()
        if not uri:
            (self._inbox / digest).write_bytes(data)
            uri = (self._inbox / digest).as_uri()
        photo_id = ids.photo_id(OWNER, digest)
        self.say(
            names.PHOTO_SUBMITTED[lane],
            photo_id,
            **{"owner": OWNER, "photo_id": photo_id, "submission_id": str(uuid4()), "lane": lane},
            **{"source_uri": uri, "sha256": digest, "byte_size": len(data)},
            submitted_at=datetime.now(UTC),
        )

    def nobody_can_read(self) -> None:
        """In a topic of every service."""
        for topic in (
            names.PHOTO_SUBMITTED["default"],
            names.PHOTO_ANALYSIS_REQUESTED["default"],
            names.PHOTO_BATCH_JOINED,
            names.TRAINING_PREPARED,
        ):
            self.garbage(topic)

    def failures_that_pass(self) -> None:
        """Files that their store does not give yet: intake, and the three stages, try again."""
        data = self._new_photo()
        self._submit("default", data, self._late.put("photo", data))
        self._request(self._late.put("rendition.jpg", data))

    def they_wait_for_another_try(self) -> None:
        """Each of the four in its service's retry topic; then their store opens."""
        topics = [
            topic.name
            for topic in catalogue.load(_TIERS)
            for service in ("intake", "detector", "ocr", "embedder")
            if topic.name == f"darkroom.{service}.retry-{_TIERS[0]}.bulk"
        ]
        until(
            lambda: all(any(self._log.records(topic)) for topic in topics), "they are tried again"
        )
        self._late.open()

    def failures_that_stay(self) -> str:
        """A rendition that is not there: the analysis of three stages that give up."""
        return self._request((self._inbox / "never.jpg").as_uri())

    def _request(self, rendition: str) -> str:
        digest = hashlib.sha256(rendition.encode()).hexdigest()
        photo_id = ids.photo_id(OWNER, digest)
        submission = str(uuid4())
        analysis = ids.analysis_id(photo_id, submission)
        now = datetime.now(UTC)
        self.say(
            names.PHOTO_ANALYSIS_REQUESTED["default"],
            photo_id,
            **{"owner": OWNER, "photo_id": photo_id, "analysis_id": analysis, "lane": "default"},
            **{"sha256": digest, "submission_id": submission, "source_uri": rendition},
            **{"rendition_uri": rendition, "thumbnail_uri": rendition},
            **{"submitted_at": now, "requested_at": now, "policy_revision": 1},
        )
        return analysis

    def an_operator_of_another_tool(self) -> None:
        """Who writes into topics himself, and reads how much waits."""
        self.say(
            "ops.control.v1",
            "ocr/learning",
            **{"target": "ocr/learning", "rate": None, "paused": False, "paused_until": None},
            **{"concurrency": 5, "changed_at": datetime.now(UTC)},
        )
        self.say(names.REVIEW_ANSWERED, str(uuid4()), answered_at=datetime.now(UTC))

    def others_read(self) -> None:
        """What is for others to read."""
        for record in self._log.records(names.OPS_LOAD):
            tracing.heard(record)

    def of_long_ago(self) -> None:
        """A photo and an import that are over for longer than anything is kept."""
        at = datetime.now(UTC) - timedelta(days=200)
        photo_id, batch = ids.photo_id(OWNER, "0" * 64), str(uuid4())
        analysis = ids.analysis_id(photo_id, "of long ago")
        identity = {"owner": OWNER, "photo_id": photo_id, "analysis_id": analysis, "revision": 1}
        for topic in (names.PHOTO_OBJECTS_DETECTED, names.PHOTO_TEXT_READ, names.PHOTO_EMBEDDED):
            more: Json = {"labels": []} if topic == names.PHOTO_EMBEDDED else {}
            self.say(topic, photo_id, **identity, finished_at=at, **more)
        about = {"owner": OWNER, "batch_id": batch}
        counts = {"found": 1, "duplicates": 0, "refused": 0, "submitted": 1}
        self.say(
            names.BATCH_INTAKE,
            batch,
            **{**about, **counts, "state": "sealed", "started_at": at, "occurred_at": at},
        )
        self.say(
            names.BATCH_PHOTO_ENDED,
            ids.chunk_key(batch, 0),
            **{**about, **identity, "index": 0, "ended_at": at},
        )

    def dead_letters_replayed(self, services: tuple[str, ...]) -> None:
        """By the command."""
        env = {**os.environ, **self._stack.environment}
        for service in services:
            command = [sys.executable, "-m", "darkroom_cli", "dlq", "replay", service]
            command += ["--all", "--yes", "--kafka", self._stack.addresses["kafka"]]
            done = subprocess.run(
                command, env=env, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

    # -- accidents -------------------------------------------------------------------------------

    def the_aggregator_is_killed(self) -> None:
        """It looks for what is over soon after it starts."""
        pid = self._stack.pid("aggregator")
        os.kill(pid, signal.SIGKILL)

        def again() -> bool:
            with contextlib.suppress(Exception):
                return self._stack.pid("aggregator") != pid
            return False

        until(again, "the aggregator is started again")

    def the_catalog_forgets(self, decided: str, late: str, failed: str) -> None:
        """Outcomes of these analyses, as after going back to a backup; of `late` also what ocr
        said."""
        with psycopg.connect(self._stack.addresses["database"]) as conn:
            some = [decided, late, failed]
            conn.execute("DELETE FROM outcomes WHERE analysis_id = ANY(%s::uuid[])", (some,))
            conn.execute("DELETE FROM parts WHERE analysis_id = %s AND stage = 'ocr'", (late,))
            for table, column in (
                ("analyses", "submitted_at"),
                ("analyses", "requested_at"),
                ("parts", "finished_at"),
                ("stage_failures", "failed_at"),
            ):
                conn.execute(
                    f"UPDATE {table} SET {column} = {column} - interval '30 minutes'"  # noqa: S608
                    " WHERE analysis_id = ANY(%s::uuid[])",
                    (some,),
                )

    def reconcile(self) -> None:
        """Have the reconciler look once more."""
        self.ask("POST", "/v1/schedules/reconcile/run", json={})

    def analyses_with_outcome(self, wanted: int) -> list[str]:
        """Of photos that are whole."""

        def found() -> list[str]:
            with psycopg.connect(self._stack.addresses["database"]) as conn:
                rows = conn.execute(
                    "SELECT o.analysis_id::text FROM outcomes o JOIN analyses a USING (analysis_id)"
                    " WHERE NOT o.partial AND a.lane = 'high' ORDER BY o.decided_at LIMIT %s",
                    (wanted,),
                ).fetchall()
            return [row[0] for row in rows] if len(rows) == wanted else []

        return list(until(found, "photos have outcomes"))

    def outcome_of(self, analysis: str) -> bool:
        """Whether the catalog has one."""
        with psycopg.connect(self._stack.addresses["database"]) as conn:
            row = conn.execute(
                "SELECT count(*) FROM outcomes WHERE analysis_id = %s", (analysis,)
            ).fetchone()
        return bool(row and row[0])


def environment(folder: Path, receiver: str, stubs: Mapping[str, str]) -> dict[str, str]:
    """Settings of a stack whose every step is traced, and which waits for nothing for long."""
    return {
        **stubs,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver,
        "OTEL_BSP_SCHEDULE_DELAY": "300",
        "DARKROOM_TRACE_SAMPLE": "1",
        "DARKROOM_RETRY_TIERS": ",".join(_TIERS),
        "DARKROOM_RATE_SINGLE": "none",
        "DARKROOM_RATE_IMPORTS": "none",
        "DARKROOM_RATE_TRAINING": "1000/s",
        "DARKROOM_TRAINING_ABOVE": "1",
        "DARKROOM_ANALYSIS_DEADLINE_S": "1",
        "DARKROOM_IMPORT_ROOTS": json.dumps([str(folder)]),
    }

"""Catalog and aggregator joined by hand, so that a test can lose what it wants on the way."""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self
from uuid import uuid4

from aggregator_machine import Machine
from darkroom_schemas import ids, names
from gateway import db
from gateway.catalog import imports, items
from gateway.catalog.imports import Import
from gateway.catalog.outbox import Outbox
from gateway.catalog.submissions import Submission, submit_photo
from gateway.control.lag import Hop, Look
from gateway.control.reconcile import Reconciler
from gateway.control.repairing import Limits
from gateway.originals import Original
from gateway.recorder.handlers import RECORDINGS, Recorder
from gateway.recorder.news import News
from gateway.recorder.session import Session
from streamkit import Busy, Codec, Message

Example = Callable[..., dict[str, Any]]
Lost = Callable[[str, str, Mapping[str, Any]], bool]
"""Whether a consumer (aggregator, recorder, or the name of what takes all: "topic") never sees an
event of a topic."""

PARTS = (names.PHOTO_OBJECTS_DETECTED, names.PHOTO_TEXT_READ, names.PHOTO_EMBEDDED)
STAGE_OF = dict(zip(PARTS, ("detector", "ocr", "embedder"), strict=True))


def nothing(_who: str, _topic: str, _value: Mapping[str, Any]) -> bool:
    """Loses nothing."""
    return False


def ago(seconds: float) -> datetime:
    """A moment of the past, with the milliseconds that events keep."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return moment.replace(microsecond=0)


class Silence:
    """A Redis that nobody listens to."""

    def publish(self, _channel: str, _messages: Any) -> None:
        return


class Groups:
    """What `lag.KafkaOffsets` sees: every group has worked on everything, but those in `behind`."""

    def __init__(self) -> None:
        self.behind: set[str] = set()
        self.away = False
        self.looks = 0

    def look(self, hops: Collection[Hop], optional: Collection[str] = ()) -> Look:
        if self.away:
            raise Busy("nobody answers", dependency="kafka")
        self.looks += 1
        places = {(topic, 0) for hop in hops for topic in hop.topics}
        committed = {
            hop.group: dict.fromkeys(places, 0 if hop.group in self.behind else self.looks)
            for hop in hops
        }
        return Look(committed, dict.fromkeys(places, 0), dict.fromkeys(places, self.looks))


class NoEnds:
    """What `first_ends.KafkaEnds` finds: the topic's own first ends, as the world said them."""

    def __init__(self) -> None:
        self.said: dict[tuple[str, int], Mapping[str, Any]] = {}

    def others(
        self, batch_id: str, _since: datetime, _known: Mapping[int, str]
    ) -> list[Mapping[str, Any]]:
        return [event for (batch, _), event in self.said.items() if batch == batch_id]


class Going:
    """A job's context that never stops."""

    def check(self) -> None:
        return


@dataclass
class World:
    """A catalog, the aggregator, and a reconciler; `flow` carries events between them."""

    conn: db.Conn
    outbox: Outbox
    codec: Codec
    example: Example
    session: Session
    limits: Limits = field(default_factory=lambda: Limits(grace_s=0.0))
    machine: Machine = field(default_factory=Machine)
    groups: Groups = field(default_factory=Groups)
    ends: NoEnds = field(default_factory=NoEnds)
    published: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """Topic, id and value of all that went through the outbox."""

    @classmethod
    def of(
        cls, database: str, conn: db.Conn, outbox: Outbox, codec: Codec, example: Example
    ) -> Self:
        session = Session(partial(db.connect, database, name="recorder"))
        return cls(conn, outbox, codec, example, session)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.session, News(Silence(), ""), self.outbox)
        self.reconciler = self.another()

    def another(self) -> Reconciler:
        """A reconciler that has seen nothing, as after a restart."""
        return Reconciler(self.outbox, self.groups, self.ends, self.limits)

    def run(self, times: int = 1) -> Mapping[str, Any]:
        """Run the reconciler; the last report."""
        report: Mapping[str, Any] = {}
        for _ in range(times):
            report = self.reconciler.run(self.conn, Going())
        return report

    def repaired(self, times: int = 1) -> dict[str, Any]:
        """What runs repaired, added up."""
        sums: dict[str, Any] = {}
        for _ in range(times):
            for what, number in self.run().items():
                if what != "waiting":
                    sums[what] = sums.get(what, 0) + number
        return sums

    # Photos and imports

    def photo(self, lane: str = "batch") -> Submission:
        """A photo handed in by a client."""
        submission = Submission(
            owner=ids.LOCAL_OWNER,
            sha256=uuid4().hex + uuid4().hex,
            source_uri="file:///objects/originals/x",
            byte_size=3,
            file_name="cat.jpg",
            lane=lane,
            submission_id=str(uuid4()),
        )
        submit_photo(self.conn, self.outbox, submission)
        return submission

    def batch(self, files: int) -> tuple[Import, list[Submission]]:
        """A sealed import of new photos."""
        batch_id = imports.begin_import(
            self.conn,
            self.outbox,
            owner=ids.LOCAL_OWNER,
            lane="batch",
            kind="folder",
            roots=["/photos"],
            location={},
        )
        (batch,) = [one for one in imports.open_imports(self.conn) if one.batch_id == batch_id]
        found = [self.file(batch, index) for index in range(files)]
        imports.seal(self.conn, self.outbox, batch)
        return batch, found

    def file(self, batch: Import, index: int) -> Submission:
        """A new photo of an import."""
        original = Original(uuid4().hex + uuid4().hex, "file:///objects/originals/x", 3)
        place = items.Place(index, f"/photos/{index}.jpg")
        items.record_photo(self.conn, self.outbox, batch, place, original)
        return Submission(
            owner=batch.owner,
            sha256=original.sha256,
            source_uri=original.uri,
            byte_size=3,
            file_name=place.file_name,
            lane=batch.lane,
            submission_id=f"import:{batch.batch_id}:{index}",
        )

    def identity(self, photo: Submission) -> dict[str, Any]:
        """The fields that name its analysis in every event."""
        return {
            **{"owner": photo.owner, "photo_id": photo.photo_id, "lane": photo.lane},
            **{"analysis_id": photo.analysis_id, "revision": 1, "policy_revision": 1},
        }

    def requested(self, photo: Submission, seconds_ago: float = 60) -> None:
        """Intake answers."""
        topic = names.PHOTO_ANALYSIS_REQUESTED[photo.lane]
        about = {
            **self.identity(photo),
            **{"submission_id": photo.submission_id, "sha256": photo.sha256},
            **{"source_uri": photo.source_uri, "file_name": photo.file_name},
            "requested_at": ago(seconds_ago),
            "submitted_at": ago(seconds_ago + 1),
        }
        self.said(topic, self.example(topic, **about))

    def part(self, photo: Submission, topic: str, lost: Lost = nothing) -> None:
        """A stage answers."""
        about = {**self.identity(photo), "stage": STAGE_OF[topic], "finished_at": ago(30)}
        name = ids.event_id(photo.analysis_id, STAGE_OF[topic], 1)
        self.said(topic, self.example(topic, **about), lost, name)

    def analysed(self, photo: Submission, lost: Lost = nothing) -> None:
        """Intake and all stages answer."""
        self.requested(photo)
        for topic in PARTS:
            self.part(photo, topic, lost)

    # What goes between them

    def flow(self, lost: Lost = nothing) -> list[str]:
        """Carry what waits in the outbox, and what comes of it; the topics of the former."""
        rows = self.conn.execute("DELETE FROM outbox RETURNING *").fetchall()
        for row in sorted(rows, key=lambda row: int(row["id"])):
            value = self.codec.decode(row["topic"], row["value"])
            self.published.append((row["topic"], str(row["event_id"]), value))
            self.said(row["topic"], value, lost, str(row["event_id"]), row["key"])
        return [row["topic"] for row in rows]

    def said(
        self,
        topic: str,
        value: dict[str, Any],
        lost: Lost = nothing,
        event_id: str = "",
        key: str = "",
    ) -> None:
        """An event lies in its topic: whoever reads it does."""
        waiting = deque([(topic, key or value["photo_id"], value, event_id or str(uuid4()))])
        while waiting:
            topic, key, value, event_id = waiting.popleft()
            if topic == names.BATCH_PHOTO_ENDED:
                self.ends.said.setdefault((value["batch_id"], value["index"]), value)
            if topic in RECORDINGS and not lost("recorder", topic, value):
                headers = {"ce_id": event_id}
                self.recorder.record([Message(topic, "recorder", key, value, headers, 0, 0, 0)])
            if self.machine.fold_of(topic) and not lost("aggregator", topic, value):
                emits = self.machine.apply((topic, key, value))
                waiting.extend((one.topic, one.key, dict(one.value), one.id) for one in emits)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the catalog."""
        return self.conn.execute(query, values).fetchall()

    def outcomes(self, photo: Submission) -> list[tuple[int, str, bool]]:
        """Revision, outcome and whether it is partial, of all that an analysis came to."""
        found = self.rows(
            "SELECT revision, outcome, partial FROM outcomes WHERE analysis_id = %s"
            " ORDER BY revision",
            photo.analysis_id,
        )
        return [(row["revision"], row["outcome"], row["partial"]) for row in found]

    def state(self, batch: Import) -> str:
        """The import's state."""
        (row,) = self.rows("SELECT state FROM batches WHERE batch_id = %s", batch.batch_id)
        return str(row["state"])

    def file_ends(self, batch: Import) -> list[str | None]:
        """What its files came to, in their order."""
        found = self.rows(
            "SELECT ended FROM batch_items WHERE batch_id = %s ORDER BY index", batch.batch_id
        )
        return [row["ended"] for row in found]

"""What the api door writes into the catalog; each call is one transaction and blocks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import DictRow

from gateway.api.admission import Admission
from gateway.api.problems import ProblemError, unavailable
from gateway.catalog import cancelling, controls, policies, reviews, trainings, uploads
from gateway.catalog.failure_replays import begin_replay
from gateway.catalog.failure_shapes import ChosenFailures
from gateway.catalog.imports import Kind, begin_import, expect
from gateway.catalog.model_shapes import Activation
from gateway.catalog.notices import tell_overload
from gateway.catalog.outbox import Outbox
from gateway.catalog.read import ask_photos, photos_told
from gateway.catalog.reprocess import AgainLane, Selection, begin_reprocess
from gateway.catalog.review_shapes import ReviewAnswer, Said, Undone
from gateway.catalog.shapes import Photo
from gateway.catalog.submissions import HandedIn, Submitted, submit_photos
from gateway.catalog.uploads import Offered, Standing, Uploaded
from gateway.db import Conn, piped_transaction
from gateway.originals import Original
from streamkit import Busy


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a photo that was handed in, and how it stands right after."""

    submitted: Submitted
    photo: Photo


class Writes:
    """Hands photos and imports in while the outbox has room.

    Events wait in the outbox while Kafka is away. Above `limit` of them new work is refused:
    ProblemError (503) with the time to come back.
    """

    def __init__(self, outbox: Outbox, limit: int, admission: Admission) -> None:
        self._outbox = outbox
        self._limit = limit
        self._admission = admission

    def photos(
        self, conn: Conn, owner: str, photos: Sequence[HandedIn]
    ) -> list[Recorded | ProblemError | Busy]:
        """Hand in different photos of an owner, whose bytes are stored; the answers are in their
        order. Those whose lane has no room (left) are refused."""
        answers: dict[int, Recorded | ProblemError | Busy] = {}
        with piped_transaction(conn):
            waiting = self._waiting(conn)
            lanes = [one.submission.lane for one in photos]
            sorted_out = self._admission.sort(conn, owner, lanes)
            answers |= sorted_out.refused
            if self._is_full(waiting):
                return [self._refusal(conn)] * len(photos)
            chosen = [photos[place] for place in sorted_out.taken]
            handed_in = submit_photos(conn, self._outbox, chosen)
            found = ask_photos(conn, owner, [UUID(one.photo_id) for one in handed_in])
        standing = photos_told(found)
        for place, one in zip(sorted_out.taken, handed_in, strict=True):
            answers[place] = Recorded(one, standing[UUID(one.photo_id)])
        for lane in sorted_out.filled:
            try:
                self._admission.look(conn, owner, lane)
            except Busy as error:  # it can't be said: no fault of other lanes' photos
                answers |= {place: error for place, one in enumerate(lanes) if one == lane}
        left = [place for place in range(len(photos)) if place not in answers]
        if left:  # their lane has filled up, or they fill it if those before were all new work
            # If this fails, so do those before: they are recorded, and known when they come again.
            others = self.photos(conn, owner, [photos[place] for place in left])
            answers |= dict(zip(left, others, strict=True))
        return [answers[place] for place in range(len(photos))]

    def begin(
        self,
        conn: Conn,
        owner: str,
        lane: str,
        kind: Kind,
        roots: Sequence[str],
        location: Mapping[str, Any],
        expected: int | None = None,
    ) -> str:
        """Begin an import of what was checked; see `imports.begin_import`. Returns its id."""
        self._check(conn)
        with conn.transaction():
            batch_id = begin_import(
                conn,
                self._outbox,
                owner=owner,
                lane=lane,
                kind=kind,
                roots=roots,
                location=location,
            )
            if expected is not None:
                expect(conn, batch_id, expected)
        return batch_id

    def offer(
        self, conn: Conn, owner: str, batch_id: UUID, files: Sequence[Offered], room: int
    ) -> list[Standing] | None:
        """What is known of files that shall be uploaded; see `uploads.offer`."""
        self._check(conn)
        return uploads.offer(conn, self._outbox, owner, batch_id, files, room)

    def upload(
        self, conn: Conn, owner: str, batch_id: UUID, path: str, original: Original
    ) -> Uploaded | None:
        """Record an uploaded file of an import; see `uploads.upload`."""
        self._check(conn)
        return uploads.upload(conn, self._outbox, owner, batch_id, path, original)

    def seal(self, conn: Conn, owner: str, batch_id: UUID) -> bool | None:
        """Every file was uploaded; see `uploads.seal`."""
        return uploads.seal(conn, self._outbox, owner, batch_id)

    def policy(
        self, conn: Conn, _owner: str, wanted: policies.Wanted, expected: int | None
    ) -> policies.Policy:
        """Make the next policy; see `policies.change`."""
        self._check(conn)
        return policies.change(conn, self._outbox, wanted, expected)

    def model(
        self, conn: Conn, _owner: str, change: Callable[..., Activation], *arguments: Any
    ) -> Activation:
        """Change a model; `change` is one of `models`' functions that take an outbox."""
        self._check(conn)
        return change(conn, self._outbox, *arguments)

    def train(self, conn: Conn, owner: str, model: str, by: str, *, forced: bool) -> str:
        """Have a model of the owner's labels trained; see `trainings.ask`."""
        self._check(conn)
        return trainings.ask(conn, self._outbox, (owner, model), by, forced=forced)

    def reprocess(
        self, conn: Conn, owner: str, selection: Selection, lane: AgainLane, by: str
    ) -> str:
        """Have known photos analysed again; returns the batch's id."""
        self._check(conn)
        return begin_reprocess(conn, self._outbox, owner, selection, lane, by)

    def replay(
        self, conn: Conn, owner: str, chosen: ChosenFailures, lane: AgainLane, by: str, most: int
    ) -> str:
        """Have failures tried again; returns the replay's id."""
        self._check(conn)
        return begin_replay(conn, owner, chosen, lane, by, most)

    def answer(self, conn: Conn, owner: str, photo_id: UUID, said: Said) -> ReviewAnswer | None:
        """Record what somebody says of a photo; see `reviews.answer`."""
        self._check(conn)
        return reviews.answer(conn, self._outbox, owner, photo_id, said)

    def undo_answer(
        self, conn: Conn, owner: str, photo_id: UUID, who: str, answer_id: UUID | None
    ) -> Undone | None:
        """Take an answer back; see `reviews.undo`."""
        self._check(conn)
        return reviews.undo(conn, self._outbox, owner, photo_id, who, answer_id)

    # Whoever holds work back, or calls it off, can do so also while the outbox has no room.

    def control(
        self, conn: Conn, _owner: str, target: str, changes: Mapping[str, Any], by: str
    ) -> controls.Control:
        """Change what holds for a service or a lane; see `controls.change`."""
        return controls.change(conn, self._outbox, target, changes, by)

    def no_control(self, conn: Conn, _owner: str, target: str, by: str) -> controls.Control:
        """Take back all that was set for a target; see `controls.remove`."""
        return controls.remove(conn, self._outbox, target, by)

    def cancel_training(self, conn: Conn, owner: str, request_id: UUID, by: str) -> bool:
        """Call a training off; see `trainings.cancel`."""
        return trainings.cancel(conn, self._outbox, owner, request_id, by)

    def cancel_photo(
        self, conn: Conn, owner: str, photo_id: UUID, by: str, reason: str | None
    ) -> bool:
        """Call a photo's analysis off; see `cancelling.cancel_photo`."""
        return cancelling.cancel_photo(conn, self._outbox, owner, photo_id, by, reason)

    def _check(self, conn: Conn) -> None:
        if self._is_full(self._waiting(conn)):
            with conn.transaction():
                refusal = self._refusal(conn)
            raise refusal

    def _waiting(self, conn: Conn) -> Cursor[DictRow]:
        """Asks how many events wait, as far as that counts."""
        return conn.execute(
            "SELECT count(*) AS rows FROM (SELECT FROM outbox LIMIT %s) waiting", (self._limit,)
        )

    def _is_full(self, waiting: Cursor[DictRow]) -> bool:
        row = waiting.fetchone()
        return row is not None and row["rows"] >= self._limit

    def _refusal(self, conn: Conn) -> ProblemError:
        """What is said to whoever wants more, told in the caller's transaction."""
        tell_overload(conn, self._limit)
        detail = f"{self._limit} events wait for Kafka already. Try again later."
        return unavailable("outbox_full", detail, retry_after_s=30)

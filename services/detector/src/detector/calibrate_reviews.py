"""People's answers from their topic, and the photos that they are about from the gateway."""

from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

import httpx

from darkroom_schemas.names import REVIEW_ANSWERED
from detector.calibrate_examples import CalibrateError, Example, UnusableError
from detector.calibration_answers import Newest, answer_of
from imaging import LIMITS
from streamkit import Codec, Reject, TopicSettings
from streamkit.kafka.follower import Follower

_PATIENCE_S: Final = 30.0
"""That nothing may come for, from a broker or registry that is away."""

_POLL_S: Final = 0.5
_TIMEOUT_S: Final = 30.0


@dataclass(slots=True)
class Told:
    """What the topic had."""

    newest: Newest = field(default_factory=Newest)
    unreadable: int = 0
    records: int = 0


class AnswerTopic:
    """`review.answered.v1`, read once to where it ends."""

    def __init__(self, settings: TopicSettings, codec: Codec) -> None:
        self._codec = codec
        self._told = Told()
        topic = settings.topic_prefix + REVIEW_ANSWERED
        self._where = f"{topic} at {settings.kafka}"
        self._follower = Follower(
            settings.kafka, topic, self._tell, name="calibrate", options=settings.kafka_options
        )

    def read(self, patience_s: float = _PATIENCE_S) -> Told:
        """Everything that is there. Blocks; raises CalibrateError when nothing comes for long."""
        ready, seen, waited = self._follower.start(0.0), 0, 0.0
        try:
            while not ready:
                ready = self._follower.wait(_POLL_S)
                waited = waited + _POLL_S if self._told.records == seen else 0.0
                seen = self._told.records
                if waited > patience_s:
                    why = self._follower.trouble or "no answer"
                    raise CalibrateError(f"{self._where} can't be read: {why}")
        finally:
            self._follower.close()
        return self._told

    def _tell(self, _key: bytes | None, value: bytes | None) -> None:
        """Raises Busy while the registry is needed and away."""
        try:
            answer = answer_of(self._codec.decode(REVIEW_ANSWERED, value))
            UUID(answer.photo_id)
        except (Reject, ValueError):
            self._told.unreadable += 1
        else:
            self._told.newest.add(answer)
        self._told.records += 1


class Renditions:
    """Photos by their ids, from a gateway's api door."""

    def __init__(self, gateway: str) -> None:
        self._http = httpx.Client(base_url=gateway, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def read(self, example: Example) -> bytes:
        """What the pipeline's stages look at. Raises UnusableError, or CalibrateError where there
        is no gateway.
        """
        try:
            with self._http.stream("GET", f"/v1/photos/{example.name}/rendition") as answer:
                if answer.status_code != httpx.codes.OK:
                    raise UnusableError(_refusal(answer.status_code))
                return _at_most(answer, LIMITS.max_bytes)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CalibrateError(
                f"The gateway at {self._http.base_url} does not answer: {error}. Give the address"
                " of its api door, such as http://127.0.0.1:8080."
            ) from error


def _refusal(status: int) -> str:
    if status == httpx.codes.NOT_FOUND:
        return "The gateway has no rendition of it."
    return f"The gateway says {status}."


def _at_most(answer: httpx.Response, limit: int) -> bytes:
    data = bytearray()
    for piece in answer.iter_bytes():
        data += piece
        if len(data) > limit:
            raise UnusableError(f"The photo is larger than {limit:,} bytes.")
    return bytes(data)

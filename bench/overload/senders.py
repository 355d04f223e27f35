"""Hands photos in as fast as asked for, from many clients at once, whatever comes back."""

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: when it was asked for (seconds of the monotonic clock), after how many
    milliseconds; the id of the photo if it was accepted; else why not, and when to come back."""

    at: float
    ms: float
    status: int
    photo_id: str | None
    code: str | None
    detail: str
    retry_after_s: int | None

    @property
    def accepted(self) -> bool:
        """Whether the system has taken the photo over."""
        return self.status in (200, 202)


class Client:
    """One connection to a gateway; not for several threads."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT_S
        )

    def hand_in(self, photo: bytes, lane: str) -> Answer:
        """`POST /v1/photos`. Raises OSError, HTTPException."""
        at = time.monotonic()
        try:
            status, headers, body = self._ask(photo, lane)
        except (ConnectionError, http.client.HTTPException):
            # A refusal closes the connection, perhaps while the body is on its way.
            self._connection.close()
            status, headers, body = self._ask(photo, lane)
        ms = 1000 * (time.monotonic() - at)
        told = json.loads(body)
        after = headers.get("Retry-After")
        return Answer(
            at,
            ms,
            status,
            told.get("photo_id"),
            told.get("code"),
            str(told.get("detail", "")),
            int(after) if after else None,
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _ask(self, photo: bytes, lane: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        self._connection.request(
            "POST", f"/v1/photos?lane={lane}", photo, {"Content-Type": "image/jpeg"}
        )
        answer = self._connection.getresponse()
        return answer.status, answer.headers, answer.read()


def send(
    url: str,
    photo: Callable[[int], bytes],
    count: int,
    *,
    lane: str,
    clients: int,
    per_s: float | None = None,
) -> Sequence[Answer]:
    """Hand in `count` photos by so many clients, `per_s` a second, or one after another by each
    client if that is None. Whoever is late does not wait. Raises what a client raises."""
    numbers = itertools.count()
    lock = threading.Lock()
    began = time.monotonic()

    def work() -> list[Answer]:
        client = Client(url)
        answers: list[Answer] = []
        try:
            while True:
                with lock:
                    number = next(numbers)
                if number >= count:
                    return answers
                if per_s is not None:
                    time.sleep(max(0.0, began + number / per_s - time.monotonic()))
                answers.append(client.hand_in(photo(number), lane))
        finally:
            client.close()

    with ThreadPoolExecutor(clients) as pool:
        found = [pool.submit(work) for _ in range(clients)]
        answers = [answer for each in found for answer in each.result()]
    return sorted(answers, key=lambda answer: answer.at)

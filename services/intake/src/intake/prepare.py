"""Fetch, verify, decode, store: what makes a photo safe to look at."""

from dataclasses import dataclass
from typing import Protocol

from imaging import ImageRejected, Prepared
from intake.submission import Refused, Submission, check_bytes, check_identity
from streamkit import Reject


class Stores(Protocol):
    """See streamkit.ObjectStore. Raises Reject and Retry."""

    def get(self, uri: str, *, limit: int) -> bytes: ...

    def put(self, key: str, data: bytes) -> str: ...


class Decodes(Protocol):
    """See imaging.DecodeProcess. Raises ImageRejected."""

    def prepare(self, data: bytes, *, keep_gps: bool = False) -> Prepared: ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """A photo that may be analysed, and where its pixels lie."""

    photo: Prepared
    byte_size: int
    rendition_uri: str
    thumbnail_uri: str


@dataclass(frozen=True, slots=True)
class Intake:
    """Prepares photos. `own_store` is the URL of the store that nobody else writes to."""

    store: Stores
    decoder: Decodes
    own_store: str
    max_bytes: int
    keep_gps: bool

    def accept(self, submission: Submission) -> Accepted:
        """Blocks for the fetch and the decode; repeating it has no further effect.

        Raises Refused, with nothing stored. Raises Retry.
        """
        check_identity(submission)
        data = self._fetch(submission)
        check_bytes(submission, data)
        try:
            photo = self.decoder.prepare(data, keep_gps=self.keep_gps)
        except ImageRejected as error:
            raise Refused(error.code, error.message) from error
        return Accepted(
            photo=photo,
            byte_size=len(data),
            rendition_uri=self._rendition(submission, photo.rendition, data),
            thumbnail_uri=self.store.put(_key("thumbnails", submission), photo.thumbnail),
        )

    def _fetch(self, submission: Submission) -> bytes:
        try:
            return self.store.get(submission.source_uri, limit=self.max_bytes)
        except Reject as error:
            # What the store refuses for good ends the analysis as a photo that can't be read does.
            raise Refused(error.code, error.message) from error

    def _rendition(self, submission: Submission, rendition: bytes | None, data: bytes) -> str:
        if rendition is None and submission.source_uri.startswith(f"{self.own_store}/"):
            return submission.source_uri
        # In a store of others an original may change or vanish while the photo is analysed.
        return self.store.put(_key("renditions", submission), rendition or data)


def _key(folder: str, submission: Submission) -> str:
    """Named by the original's content, so a repetition finds the same object."""
    return f"{folder}/{submission.sha256[:2]}/{submission.sha256}.jpg"

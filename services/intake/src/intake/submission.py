"""A submission as intake understands it: read once, its identities checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from darkroom_schemas import ids
from imaging import sha256_hex
from streamkit import Message, Reject

FIRST_REVISION: Final = 1
FIRST_POLICY: Final = 1
"""The revisions of a submission that names none."""

_MOST_SUBMISSION_ID: Final = 200
_MOST_FILE_NAME: Final = 1000
"""Characters; more than any file system allows, for names are only shown."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Refused(Exception):  # noqa: N818 - it is a verdict on the submission, not our error
    """The photo is refused for good: `code` for programs, `message` a sentence for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Submission:
    """What was handed in, with what a submitter may leave out filled in."""

    key: str
    owner: str
    photo_id: str
    analysis_id: str
    revision: int
    policy_revision: int
    lane: str
    submission_id: str
    source_uri: str
    sha256: str
    file_name: str | None
    submitted_at: datetime

    def event_id(self, what: str) -> str:
        """CloudEvents id of a fact about this revision of the analysis."""
        return ids.event_id(self.analysis_id, what, self.revision)

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that say in every event which analysis it belongs to."""
        return {
            "owner": self.owner,
            "photo_id": self.photo_id,
            "analysis_id": self.analysis_id,
            "revision": self.revision,
            "policy_revision": self.policy_revision,
            "lane": self.lane,
            "submission_id": self.submission_id,
            "file_name": self.file_name,
            "sha256": self.sha256,
        }


def read(message: Message) -> Submission:
    """The submission in a record of `photo.submitted`. The lane is that of the topic.

    Raises Reject if its ids name no analysis: then nothing can be said about one, and the record
    belongs to the dead letters.
    """
    value = message.value
    photo_id = _uuid(value, "photo_id")
    analysis_id = (
        ids.analysis_id(photo_id, value["submission_id"])
        if value["analysis_id"] is None
        else _uuid(value, "analysis_id")
    )
    return Submission(
        key=message.key,
        owner=value["owner"],
        photo_id=photo_id,
        analysis_id=analysis_id,
        revision=FIRST_REVISION if value["revision"] is None else value["revision"],
        policy_revision=(
            FIRST_POLICY if value["policy_revision"] is None else value["policy_revision"]
        ),
        lane=message.lane,
        submission_id=value["submission_id"],
        source_uri=value["source_uri"],
        sha256=value["sha256"],
        file_name=value["file_name"] and value["file_name"][:_MOST_FILE_NAME],
        submitted_at=value["submitted_at"],
    )


def check_identity(submission: Submission) -> None:
    """Raises Refused unless the ids follow from each other as every door derives them."""
    if submission.key != submission.photo_id:
        raise Refused("key_mismatch", "The record's key is not the id of its photo.")
    if not 0 < len(submission.submission_id) <= _MOST_SUBMISSION_ID:
        message = f"The submission id must have 1 to {_MOST_SUBMISSION_ID} characters."
        raise Refused("bad_submission_id", message)
    if submission.revision < 1 or submission.policy_revision < 1:
        raise Refused("bad_revision", "Revisions count from 1.")
    if not _SHA256.fullmatch(submission.sha256):
        raise Refused("bad_sha256", "The SHA-256 is not written as 64 lower-case hex digits.")
    if not _is_uuid(submission.owner):
        raise Refused("bad_owner", "The owner is not a UUID.")
    if ids.photo_id(submission.owner, submission.sha256) != submission.photo_id:
        message = "The photo's id does not follow from its owner and its SHA-256."
        raise Refused("photo_id_mismatch", message)


def check_bytes(submission: Submission, data: bytes) -> None:
    """Raises Refused if the stored bytes are not those that were handed in."""
    if sha256_hex(data) != submission.sha256:
        message = "The file in the store is not the one that was handed in: its SHA-256 differs."
        raise Refused("sha256_mismatch", message)


def _uuid(value: Mapping[str, Any], name: str) -> str:
    text = value[name]
    if not _is_uuid(text):
        raise Reject(f"bad_{name}", f"The field {name} is not a UUID.")
    return str(text)


def _is_uuid(text: str) -> bool:
    """Whether `text` is a UUID as we write them; another spelling would be another key."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False

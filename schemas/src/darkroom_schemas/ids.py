"""Identities: the same thing has the same id, whoever names it.

All ids are UUID version 5 (RFC 9562 §5.5), so that every door, in any language, finds the same
one and a repeated record is recognised.
"""

from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

CHUNK: Final = 4096
"""Indices of an import that are counted together."""


def owner_id(name: str) -> str:
    """Id of the owner whom an installation calls so."""
    return str(uuid5(NAMESPACE_URL, f"urn:darkroom:owner:{name}"))


LOCAL_OWNER: Final = owner_id("local")
"""Owner of everything, unless a key says otherwise."""


def photo_id(owner: str, sha256: str) -> str:
    """Id of the photo with these original bytes (64 lower-case hex digits) of this owner.

    Raises ValueError if `owner` is not a UUID.
    """
    return str(uuid5(UUID(owner), sha256))


def analysis_id(photo: str, submission_id: str) -> str:
    """Id of the analysis that a submission asks for."""
    return str(uuid5(UUID(photo), submission_id))


def event_id(analysis: str, what: str, revision: int) -> str:
    """CloudEvents id of a fact, such as `detector`, about one revision of an analysis."""
    return str(uuid5(UUID(analysis), f"{what}:{revision}"))


def batch_event_id(batch: str, what: str) -> str:
    """CloudEvents id of a fact about an import."""
    return str(uuid5(UUID(batch), what))


def chunk_of(index: int) -> int:
    """The chunk that counts this index of an import."""
    return index // CHUNK


def chunk_key(batch: str, chunk: int) -> str:
    """Key of the topics that are partitioned by chunk."""
    return f"{batch}/{chunk}"

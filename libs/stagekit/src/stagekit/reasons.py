"""Why something could not be loaded, for people."""

from typing import Final

from stagekit.versions import VersionError
from streamkit import Busy, EngineLoadError, Reject, Retry, UnknownEngineError

FORESEEN: Final = (VersionError, EngineLoadError, UnknownEngineError, Reject, Busy, Retry)
"""What says by itself what is wrong, and what to do."""

_LONGEST: Final = 500


def reason(error: Exception) -> str:
    """Why loading failed, in one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return (said if isinstance(error, FORESEEN) else f"{type(error).__name__}: {said}")[:_LONGEST]

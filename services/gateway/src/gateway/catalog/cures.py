"""What helps against a failure, by its code: a sentence for whoever runs Darkroom."""

from collections.abc import Mapping
from typing import Final

_STORE: Final = "Put the file back where it was, or hand the photo in again; then try again."
_MEMORY: Final = "Give the service more memory, or lower its limits; then try again."
_NEW_FILE: Final = "Find a good copy of the file and hand that in; discard this one."
_PRODUCER: Final = "Correct the program that wrote the record, and have it write a new one."
_LIMIT: Final = (
    "Raise the limit in the settings if the photo is wanted, then try again; else discard."
)

CURES: Final[Mapping[str, str]] = {
    # of stages and of the runtime
    "engine_failed": "Look into the stage's log for what its model says, activate or roll back a"
    " version that can (`darkroom models`), then try again.",
    "deadline": "The stage was stopped, too slow, or it hung on the photo. See that it runs"
    " (`darkroom status`) and has time (DARKROOM_HARD_DEADLINE_S), then try again.",
    "gave_up": "Every attempt failed. Put right what the message names, then try again.",
    "engine_died": "The engine's process ended while it looked. Look into the stage's log; give it"
    " more memory or activate another version (`darkroom models`), then try again.",
    "unpublishable": "Kafka took no answer about it. Look into the stage's log, then try again.",
    "out_of_memory": _MEMORY,
    # of the object store
    "object_missing": _STORE,
    "object_too_large": _LIMIT,
    "outside_stores": "Name its store in DARKROOM_STORES, restart the services, then try again.",
    "sha256_mismatch": "The file was changed after it was handed in. Hand it in again; discard"
    " this one.",
    # of the picture
    "empty_file": _NEW_FILE,
    "not_an_image": "It is no photo. Discard it, or exclude such files from imports.",
    "unsupported_type": "Convert it into JPEG, PNG, WebP, TIFF or HEIC and hand that in; discard"
    " this one.",
    "file_too_large": _LIMIT,
    "too_many_pixels": _LIMIT,
    "too_many_frames": "Hand in a single frame of it; discard this one.",
    "image_truncated": _NEW_FILE,
    "image_corrupt": _NEW_FILE,
    "decode_timed_out": "Try it again when the machine has less to do. If it fails again, the file"
    " is made to be slow: discard it.",
    "decode_out_of_memory": _MEMORY,
    "decode_crashed": "The decoder died on it: try it again once. If it fails again, the file is"
    " damaged: discard it.",
    # of records
    "undecodable": _PRODUCER,
    "not_framed": _PRODUCER,
    "wrong_schema": _PRODUCER,
    "unknown_schema": "Register the schema that the record was written with, then try again.",
    "unstorable": "Look into the recorder's log for what the catalog refuses, then try again.",
    "foreign_photo_id": _PRODUCER,
    "key_mismatch": _PRODUCER,
    "photo_id_mismatch": _PRODUCER,
    "bad_submission_id": _PRODUCER,
    "bad_revision": _PRODUCER,
    "bad_sha256": _PRODUCER,
    "bad_owner": _PRODUCER,
    "bad_key": _PRODUCER,
    "bad_photo_id": _PRODUCER,
    "bad_analysis_id": _PRODUCER,
    "bad_retry_headers": _PRODUCER,
    "impossible_record": _PRODUCER,
}

GENERAL: Final = (
    "Read the message and the service's log (`darkroom logs`), put right what they name, then"
    " try again; discard what can't be helped."
)


_IMPORT: Final = (
    "Put right what the message names and import the file again, or discard it: it leaves this list"
    " once an import has taken it."
)

_IMPORT_CURES: Final[Mapping[str, str]] = {
    "file_too_large": "Raise DARKROOM_PHOTO_MAX_BYTES if the file is wanted and import it again;"
    " else discard it.",
    "file_forbidden": "Let the user that Darkroom runs as read the file, and import it again.",
    "file_missing": "Put the file back and import it again, or discard it.",
    "not_a_file": "It is nothing that can be read. Discard it, or exclude it from imports.",
}


def cure_of(code: str, stage: str = "") -> str:
    """What to do about failures with this code; of files that an import could not read, those of
    stage `import`, there is nothing to try again."""
    if stage == "import":
        return _IMPORT_CURES.get(code, _IMPORT)
    return CURES.get(code, GENERAL)

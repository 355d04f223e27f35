"""The one exception of this library: the picture is refused, and a person can read why."""

from enum import StrEnum


class RejectionCode(StrEnum):
    """Stable codes of the reasons; they leave the process in events, so they never change."""

    EMPTY_FILE = "empty_file"
    FILE_TOO_LARGE = "file_too_large"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_TYPE = "unsupported_type"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    IMAGE_TRUNCATED = "image_truncated"
    IMAGE_CORRUPT = "image_corrupt"
    DECODE_TIMED_OUT = "decode_timed_out"
    DECODE_OUT_OF_MEMORY = "decode_out_of_memory"
    DECODE_CRASHED = "decode_crashed"


class ImageRejected(Exception):  # noqa: N818  # it is a verdict on the picture, not our error
    """The picture is refused for good: the same bytes under the same limits are refused again.

    `message` is one sentence, meant for the person who handed the photo in; it never holds paths or
    internals.
    """

    def __init__(self, code: RejectionCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

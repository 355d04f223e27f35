"""Settings of intake."""

from pydantic import Field

from imaging import LIMITS, Limits
from streamkit import ObjectSettings, WorkerSettings


class Settings(ObjectSettings, WorkerSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    intake_keep_gps: bool = Field(False, description="keep where a photo was taken")
    photo_max_bytes: int = Field(
        LIMITS.max_bytes, gt=0, description="bytes of the largest photo; the gateway has it too"
    )
    photo_max_pixels: int = Field(
        LIMITS.max_pixels, gt=0, description="width x height of one; the gateway has it too"
    )
    intake_max_frames: int = Field(LIMITS.max_frames, gt=0, description="of an animation")
    intake_decode_memory: int = Field(
        LIMITS.decode_memory, gt=0, description="bytes that the decode process may take"
    )
    intake_decode_seconds: float = Field(
        LIMITS.decode_seconds, gt=0, description="that the decoding of one photo may take"
    )

    @property
    def limits(self) -> Limits:
        """The limits of a photo."""
        return Limits(
            max_bytes=self.photo_max_bytes,
            max_pixels=self.photo_max_pixels,
            max_frames=self.intake_max_frames,
            decode_memory=self.intake_decode_memory,
            decode_seconds=self.intake_decode_seconds,
        )

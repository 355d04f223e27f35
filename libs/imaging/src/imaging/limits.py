"""What a picture may cost, as frozen data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that are checked before, while and after a picture is decoded.

    `max_bytes`: of the file (100 MB). `max_pixels`: width x height in the header (150 megapixels:
    above the largest camera sensors in 2026, and at most 600 MB once decoded to 4 bytes a pixel).
    `max_frames`: of an animation or multi-page file; only the first one is ever decoded, but each
    costs time to find. `decode_memory`: bytes of address space that the decode process may map
    above what it holds when idle. `decode_seconds`: wall time for one picture in that process.
    """

    max_bytes: int = 100_000_000
    max_pixels: int = 150_000_000
    max_frames: int = 10_000
    decode_memory: int = 1024**3
    decode_seconds: float = 20.0


LIMITS = Limits()
"""The limits by default."""

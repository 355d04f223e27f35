"""Safe decoding, upright pixels, renditions, thumbnails, hashes and metadata of photographs.

Knows nothing of messages, topics or stores: bytes in, bytes and facts out.
"""

from imaging.decode import open_upright_rgb
from imaging.errors import ImageRejected, RejectionCode
from imaging.hashes import sha256_file, sha256_hex
from imaging.kinds import MEDIA_TYPES, media_type_of
from imaging.limits import LIMITS, Limits
from imaging.metadata import Metadata
from imaging.probe import Header, check_bytes, probe
from imaging.render import RENDITION_SIDE, RENDITION_TYPE, THUMBNAIL_SIDE, THUMBNAIL_TYPE, Prepared
from imaging.sandbox import DecodeProcess, DecodeProcessUnavailableError

__all__ = [
    "LIMITS",
    "MEDIA_TYPES",
    "RENDITION_SIDE",
    "RENDITION_TYPE",
    "THUMBNAIL_SIDE",
    "THUMBNAIL_TYPE",
    "DecodeProcess",
    "DecodeProcessUnavailableError",
    "Header",
    "ImageRejected",
    "Limits",
    "Metadata",
    "Prepared",
    "RejectionCode",
    "check_bytes",
    "media_type_of",
    "open_upright_rgb",
    "probe",
    "sha256_file",
    "sha256_hex",
]

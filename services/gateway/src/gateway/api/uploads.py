"""An uploaded photo: its bytes, checked by their header, and a name to show."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from fastapi import Request
from starlette.datastructures import UploadFile

from gateway.api.bodies import gather_body, too_large
from gateway.api.problems import ProblemError
from imaging.errors import ImageRejected, RejectionCode
from imaging.limits import Limits
from imaging.probe import probe

_STATUS: Final = {
    RejectionCode.EMPTY_FILE: 422,
    RejectionCode.FILE_TOO_LARGE: 413,
    RejectionCode.NOT_AN_IMAGE: 415,
    RejectionCode.UNSUPPORTED_TYPE: 415,
}
"""Everything else that a header can show is a picture that cannot be worked on: 422."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo as it was handed in."""

    data: bytes
    file_name: str | None


async def read_upload(request: Request, limits: Limits, file_name: str | None) -> Upload:
    """The photo in a request: its raw body, or the part `file` of a multipart form.

    Raises ProblemError for what is no photo within the limits.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        upload = await _read_form(request, limits.max_bytes, file_name)
    else:
        data = await gather_body(request.stream(), limits.max_bytes)
        upload = Upload(data, shown_name(file_name))
    try:
        probe(upload.data, limits)
    except ImageRejected as refused:
        status = _STATUS.get(refused.code, 422)
        raise ProblemError(status, refused.code, sentence(refused.message)) from refused
    return upload


async def _read_form(request: Request, limit: int, file_name: str | None) -> Upload:
    """Starlette keeps the file on disk while the form is read; the body is bounded outside."""
    async with request.form(max_files=1, max_fields=8) as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            detail = "The form has no file in its part `file`."
            raise ProblemError(422, "file_missing", detail)
        if part.size is not None and part.size > limit:
            raise too_large(limit)
        data = await part.read()
        return Upload(data, shown_name(file_name or part.filename))


def shown_name(name: str | None) -> str | None:
    """A file name fit to show: no folders, no control characters, at most 255 characters."""
    if name is None:
        return None
    last = PurePosixPath(name.replace("\\", "/")).name
    printable = "".join(letter for letter in last if letter.isprintable()).strip()
    return printable[:255] or None


def sentence(message: str) -> str:
    """A message with a capital first letter and a full stop."""
    return message[:1].upper() + message[1:].rstrip(".") + "."

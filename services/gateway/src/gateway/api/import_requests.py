"""What an import may be asked for with."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from gateway.api.speakers import NOBODY, Claim
from gateway.catalog.shapes import Lane
from gateway.origins import Patterns

MOST_OFFERED: Final = 1_000
"""Files in one question."""

_A_YEAR_S: Final = 366 * 86_400


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("may not hold a zero character")
    return text


FilePath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_storable)]
"""A file's path as its owner calls it; the last part is its name."""


class Taking(Patterns):
    """Which files are taken, and on which lane."""

    lane: Lane = "batch"

    @property
    def expected(self) -> int | None:
        """Files are counted when they are looked for."""
        return None

    def location(self) -> dict[str, Any]:
        """As an import's `location` holds the patterns."""
        return self.model_dump(mode="json", include={"include", "exclude", "hidden"})


class FolderRequest(Taking):
    """Files and folders of the gateway's machine; folders with everything below them."""

    kind: Literal["folder"] = "folder"
    paths: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(
        min_length=1, max_length=100, examples=[["/home/ada/Pictures"]]
    )


class StoreRequest(Taking):
    """Objects below a prefix of a store that Darkroom may read."""

    kind: Literal["store"]
    uri: FilePath = Field(examples=["s3://bucket/2026"])

    def location(self) -> dict[str, Any]:
        """The patterns, and the prefix."""
        return {**super().location(), "uri": self.uri}


class UploadRequest(BaseModel):
    """Files that the client sends one by one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["upload"]
    name: FilePath = Field(description="what is uploaded, to be shown", examples=["Pictures"])
    expected: int | None = Field(
        None, ge=0, lt=2**53, description="how many files there are, if that is known"
    )
    lane: Lane = "batch"

    def location(self) -> dict[str, Any]:
        """There is no place to look."""
        return {}


def _kind(body: Any) -> str:
    kind = body.get("kind", "folder") if isinstance(body, dict) else "folder"
    return kind if isinstance(kind, str) else ""


ImportRequest = Annotated[
    Annotated[FolderRequest, Tag("folder")]
    | Annotated[StoreRequest, Tag("store")]
    | Annotated[UploadRequest, Tag("upload")],
    Discriminator(_kind),
]
"""By `kind`, which is `folder` where it is not said."""


class CommandRequest(BaseModel):
    """Who asks for it."""

    model_config = ConfigDict(extra="forbid")

    by: Claim = Field(NOBODY, examples=["ada"])


class PauseRequest(CommandRequest):
    """For how long: until somebody resumes it, where neither is given."""

    until: AwareDatetime | None = None
    for_s: float | None = Field(None, gt=0, le=_A_YEAR_S, description="seconds from now")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.until is not None and self.for_s is not None:
            raise ValueError("give either `until` or `for_s`")
        return self

    @property
    def ends_at(self) -> datetime | None:
        """When the import goes on by itself."""
        if self.for_s is not None:
            return datetime.now(UTC) + timedelta(seconds=self.for_s)
        return self.until


class FileProblem(BaseModel):
    """Why the client can't read a file of its own."""

    code: Literal["file_missing", "file_forbidden", "not_a_file", "file_unreadable"]
    message: Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_storable)]


class OfferedFile(BaseModel):
    """A file that the client has: the SHA-256 of its bytes, or why it can't be read."""

    path: FilePath
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    byte_size: int = Field(0, ge=0, lt=2**53)
    problem: FileProblem | None = None

    @model_validator(mode="after")
    def _known_or_not(self) -> Self:
        if (self.sha256 is None) == (self.problem is None):
            raise ValueError("give either `sha256` or `problem`")
        return self


class Offer(BaseModel):
    """Files of the import, each at most once."""

    files: list[OfferedFile] = Field(max_length=MOST_OFFERED)

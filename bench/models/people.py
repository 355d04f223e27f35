"""Single photos through the API: with nothing else to do, and beside a large import."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.models.pipeline import WrongError
from bench.models.system import System
from bench.runtime.stats import percentile

_BEGUN: Final = 10
"""Photos of the import that have their end before singles begin: all stages are busy then."""

Write = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Singles:
    """Milliseconds from handing a photo in to its answer, one after another."""

    ms: Sequence[float]

    @property
    def p50_ms(self) -> float:
        """Half of them took less."""
        return percentile(self.ms, 50)

    @property
    def p95_ms(self) -> float:
        """19 of 20 took less."""
        return percentile(self.ms, 95)


@dataclass(frozen=True, slots=True)
class People:
    """The same photographs idle and loaded. `import_left`: files of the import without an end when
    the last single had its answer. `beside_document`: singles that were under way while the ocr
    read the document, which took `document_s`."""

    idle: Singles
    loaded: Singles
    import_left: int
    beside_document: int
    document_s: float


def measure(
    system: System,
    warm: Sequence[Path],
    pictures: tuple[Sequence[Path], Sequence[Path]],
    folder: Path,
    document: Path,
    write: Write,
) -> People:
    """`warm` is handed in before any time is taken. `pictures`: the singles for both times.
    `folder` is imported, `document` is a file in it.

    Leaves the system with the rest of the import to do. Raises WrongError where a photo fails or
    the import is over too early, GatewayError.
    """
    for file in warm:
        _single(system, file)
    first, second = pictures
    write(f"{len(first)} single photos, idle")
    idle = [_single(system, file) for file in first]
    files = sum(1 for _ in folder.iterdir())
    write(f"{len(second)} single photos beside an import of {files}")
    batch_id = system.begin(folder)
    system.wait_for(batch_id, _BEGUN)
    loaded = [_single(system, file) for file in second]
    left = files - system.ended(batch_id)
    if not left:
        raise WrongError("The import was over before the single photos were.", "Make it larger.")
    began, ended = _of_document(system, batch_id, document)
    return People(
        Singles([ms for _, ms in idle]),
        Singles([ms for _, ms in loaded]),
        left,
        sum(1 for at, ms in loaded if at < ended and at + ms / 1000 > began),
        ended - began,
    )


def _of_document(system: System, batch_id: str, document: Path) -> tuple[float, float]:
    """When the ocr began and ended with it. Raises StandsStillError."""
    files = 1
    while (times := system.text_of(batch_id, document)) is None:
        files = system.ended(batch_id) + 1
        system.wait_for(batch_id, files)
    return times


def _single(system: System, file: Path) -> tuple[float, float]:
    """When it was handed in (seconds since 1970), and the milliseconds to its answer."""
    at, began = time.time(), time.perf_counter()
    answer = system.gateway.analyze(file)
    ms = 1000 * (time.perf_counter() - began)
    if answer["status"] != "analyzed":
        raise WrongError(f"a single photo is {answer['status']} after {ms / 1000:.0f} s")
    return at, ms

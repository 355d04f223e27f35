"""What versions of each stage's model may be: told by its services, checked by the gateway."""

from pathlib import Path

import pytest

from detector.app import DETECTOR
from detector.settings import Settings as DetectorSettings
from embedder.app import EMBEDDER
from embedder.settings import Settings as EmbedderSettings
from gateway.catalog.model_options import problem_of
from ocr.app import OCR
from ocr.settings import Settings as OcrSettings
from stagekit import Options, StageSettings
from stagekit.versions import Version, VersionError

STAGES = [
    (DETECTOR.options, DetectorSettings, ("efficientnet-lite0", "siglip")),
    (OCR.options, OcrSettings, ("easyocr", "rapidocr")),
    (EMBEDDER.options, EmbedderSettings, ("efficientnet-lite0", "siglip")),
]
VALUES = (
    *("", "0", "1", "0.5", "101", "-1", "5000", "many", "a,b", "true"),
    *("[]", '["{}"]', '["no place"]', '["{}", 3]', '{"n": 1}', "[", "null"),
    *("./", "./boxes", "boxes", "/etc", "a/b@main", f"a/b@{'0' * 40}"),
)


@pytest.mark.parametrize(("options", "settings", "engines"), STAGES)
def test_the_gateway_takes_what_the_services_take(
    options: Options, settings: type[StageSettings], engines: tuple[str, ...], tmp_path: Path
) -> None:
    takes = options.takes(settings)
    assert takes.engines == engines

    def loads(name: str, value: str) -> bool:
        try:
            options.settings(settings(), Version("v", engines[0], {name: value}), tmp_path)
        except VersionError:
            return False
        return True

    pairs = [(name, value) for name in takes.options for value in VALUES]
    taken = [pair for pair in pairs if problem_of(takes.options[pair[0]], pair[1]) is None]
    assert taken == [pair for pair in pairs if loads(*pair)]
    assert {name for name, _ in taken} == set(options.names)

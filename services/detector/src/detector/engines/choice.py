"""Which engine the settings mean, and its skills loaded."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from backbones import CheckpointError, Policy, WeightsError, find, offline
from backbones.checkpoints import Checkpoint
from detector.calibration import CalibrationError, calibration_of
from detector.engines import ASKED, BoxFinder, Captioner, DetectorEngine, Labeller
from detector.engines.composed import ComposedEngine
from detector.label_lists import LabelList, LabelListError, label_list
from detector.settings import Settings
from stagekit import changed
from streamkit import EngineLoadError, UnknownEngineError, load_engine, needing

if TYPE_CHECKING:
    import torch


def load(settings: Settings) -> DetectorEngine:
    """See detector.engines.load."""
    with _explained():
        if settings.detector_engine != "auto":
            return load_engine(settings.detector_engine, ENGINES, settings, default=("", ""))
        labeller, why = _auto(settings)
        picked = {labeller.name: partial(_composed, labeller)}
        return load_engine("auto", picked, settings, default=(labeller.name, why))


def load_labeller(settings: Settings) -> Labeller:
    """See detector.engines.load_labeller."""
    with _explained():
        if settings.detector_engine == "auto":
            return _auto(settings)[0]
        if settings.detector_engine not in LABELLERS:
            raise UnknownEngineError(
                f"engine {settings.detector_engine!r} gives no logits; choose"
                f" {', '.join(sorted(LABELLERS))}"
            )
        return LABELLERS[settings.detector_engine](settings)


def _efficientnet_lite0(settings: Settings) -> Labeller:
    from detector.engines.efficientnet_lite0 import EfficientNetLite0Labeller

    return EfficientNetLite0Labeller.load(settings.detector_device, settings.detector_threads)


def _siglip(settings: Settings) -> Labeller:
    if not settings.detector_checkpoint:
        raise EngineLoadError(
            "The engine siglip needs weights: name a folder, or owner/name@COMMIT at a model hub,"
            " in the setting detector_checkpoint."
        )
    return _siglip_of(settings, find(settings.detector_checkpoint, _policy(settings)))


def _siglip_of(settings: Settings, checkpoint: Checkpoint) -> Labeller:
    from detector.engines.siglip import SiglipLabeller

    device, labels = _torch_device(settings), _labels(settings)
    return SiglipLabeller.load(checkpoint, device, labels, settings.detector_prompts)


def _auto(settings: Settings) -> tuple[Labeller, str]:
    """The labeller that `auto` means, and why."""
    siglip, why = offline.siglip(
        settings.detector_checkpoint,
        settings.detector_device,
        _policy(settings),
        partial(_siglip_of, settings),
    )
    if siglip is not None:
        return siglip, why
    return _efficientnet_lite0(settings), f"its weights come with the installation; {why}"


LabellerFactory = Callable[[Settings], Labeller]

LABELLERS: Final[Mapping[str, LabellerFactory]] = {
    "efficientnet-lite0": _efficientnet_lite0,
    "siglip": _siglip,
}
"""What gives the labels of the built-in engines, by the engine's name."""


def _engine(factory: LabellerFactory, settings: Settings) -> DetectorEngine:
    return _composed(factory(settings), settings)


ENGINES: Final[Mapping[str, Callable[[Settings], DetectorEngine]]] = {
    name: partial(_engine, factory) for name, factory in LABELLERS.items()
}
"""The built-in engines by name."""


def _composed(labeller: Labeller, settings: Settings) -> DetectorEngine:
    calibration = calibration_of(settings.detector_calibration)
    boxes = _boxes(settings) if settings.detector_boxes else None
    return ComposedEngine(
        labeller,
        settings.detector_labels,
        boxes=boxes,
        caption=_caption(settings) if settings.detector_caption else None,
        calibration=calibration.for_model(labeller.model_version),
        options=_options(settings, labeller, boxes),
    )


def _options(settings: Settings, labeller: Labeller, boxes: BoxFinder | None) -> dict[str, Any]:
    """What changes the answers and is not the default, as far as these skills heed it.

    The labels of siglip are in its own version, which a calibration is for, but their categories
    are not.
    """
    of_boxes = ("detector_boxes_threshold", "detector_boxes_most") if boxes is not None else ()
    options = changed(settings, ("detector_labels", *of_boxes))
    heeds_labels = labeller.name == "siglip" or (boxes is not None and boxes.name in ASKED)
    if heeds_labels and (labels := _labels(settings)) != LabelList.everyday():
        options["labels"] = [labels.names, labels.categories]
    return options


def _boxes(settings: Settings) -> BoxFinder:
    from detector.engines import boxes

    checkpoint = find(settings.detector_boxes, _policy(settings))
    network = boxes.load(checkpoint, _torch_device(settings), _labels(settings).names)
    return boxes.TransformersBoxes(
        network, threshold=settings.detector_boxes_threshold, most=settings.detector_boxes_most
    )


def _caption(settings: Settings) -> Captioner:
    from detector.engines.caption import BlipCaptioner

    checkpoint = find(settings.detector_caption, _policy(settings))
    return BlipCaptioner(checkpoint, _torch_device(settings))


def _labels(settings: Settings) -> LabelList:
    return label_list(settings.detector_labels_file, settings.detector_label_list)


def _policy(settings: Settings) -> Policy:
    return Policy(
        allow_pickle=settings.checkpoints_allow_pickle,
        allow_names=settings.checkpoints_allow_names,
    )


def _torch_device(settings: Settings) -> "torch.device":
    from backbones import devices

    return devices.ready(settings.detector_device, settings.detector_threads)


@contextmanager
def _explained() -> Iterator[None]:
    """Whatever is wrong with what the settings name is a sentence for whoever set them."""
    try:
        with needing("darkroom-detector[torch]"):
            yield
    except (CheckpointError, WeightsError, CalibrationError, LabelListError) as error:
        raise EngineLoadError(str(error)) from error

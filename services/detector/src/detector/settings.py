"""Settings of the detector."""

from typing import Annotated

from pydantic import Field

from stagekit import StageSettings

Prompt = Annotated[str, Field(pattern=r"\{\}", max_length=200)]
"""A text with the place of a label."""


class Settings(StageSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    detector_engine: str = Field(
        "auto", description="auto, efficientnet-lite0, siglip, or package.module:factory"
    )
    detector_device: str = Field("auto", description="auto (CUDA where there is one), cpu, cuda:N")
    detector_threads: int = Field(
        0, ge=0, description="CPU threads of the engine; 0: OMP_NUM_THREADS, else all cores"
    )
    detector_labels: int = Field(5, ge=1, le=100, description="labels kept of a photo, best first")
    detector_checkpoint: str = Field(
        "", description="weights of siglip: folder or owner/name@COMMIT, then #sha256:HEX or not"
    )
    detector_labels_file: str = Field(
        "", description="labels to look for: a text file, a line each: label, or label TAB category"
    )
    detector_label_list: str = Field("", description="the same labels, listed with commas")
    detector_prompts: tuple[Prompt, ...] = Field(
        ("a photo of a {}.", "a photo of the {}.", "{}"),
        min_length=1,
        max_length=50,
        description="texts that siglip compares with a photo, {} standing for the label (JSON)",
    )
    detector_boxes: str = Field(
        "",
        description="checkpoint of object detection, named like detector_checkpoint; empty: none",
    )
    detector_boxes_threshold: float = Field(
        0.3, ge=0, le=1, description="boxes of less confidence are not told"
    )
    detector_boxes_most: int = Field(20, ge=1, le=300, description="boxes told of a photo")
    detector_caption: str = Field(
        "", description="checkpoint of BLIP, named like detector_checkpoint; empty: no captions"
    )
    detector_calibration: str = Field(
        "", description="what `python -m detector.calibrate` wrote: file or JSON; empty: none"
    )
    checkpoints_allow_pickle: bool = Field(
        False, description="also weights in pickles, which can run any code when they are loaded"
    )
    checkpoints_allow_names: bool = Field(
        False, description="also branches and tags of a model hub, whose content may change"
    )

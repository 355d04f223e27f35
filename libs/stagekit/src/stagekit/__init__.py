"""stagekit: what makes an engine a stage of the photo pipeline."""

from stagekit.run import serve
from stagekit.stage import Engine, Stage, StageSettings, job

__all__ = ["Engine", "Stage", "StageSettings", "job", "serve"]

"""stagekit: what makes an engine a stage of the photo pipeline."""

from stagekit.photo import Photo
from stagekit.run import serve
from stagekit.stage import Engine, Loaded, Stage, StageSettings, handlers, job

__all__ = ["Engine", "Loaded", "Photo", "Stage", "StageSettings", "handlers", "job", "serve"]

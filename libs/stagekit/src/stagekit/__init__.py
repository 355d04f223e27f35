"""stagekit: what makes an engine a stage of the photo pipeline."""

from stagekit.beside import Said
from stagekit.loaded import Engine, Found, Loaded
from stagekit.naming import changed, with_options
from stagekit.photo import Photo
from stagekit.run import job, serve
from stagekit.serving import Servings
from stagekit.stage import Also, Stage, StageSettings
from stagekit.versions import Options
from stagekit.working import handlers

__all__ = [
    "Also",
    "Engine",
    "Found",
    "Loaded",
    "Options",
    "Photo",
    "Said",
    "Servings",
    "Stage",
    "StageSettings",
    "changed",
    "handlers",
    "job",
    "serve",
    "with_options",
]

"""stagekit: what makes an engine a stage of the photo pipeline."""

from stagekit.beside import Said
from stagekit.labelling import Label, Labeller, Labelling
from stagekit.loaded import Engine, Found, Loaded
from stagekit.naming import changed, with_options
from stagekit.photo import Photo
from stagekit.run import job, serve
from stagekit.serving import Servings
from stagekit.stage import Also, Stage, StageSettings
from stagekit.versions import Options, Version, VersionError
from stagekit.working import handlers

__all__ = [
    "Also",
    "Engine",
    "Found",
    "Label",
    "Labeller",
    "Labelling",
    "Loaded",
    "Options",
    "Photo",
    "Said",
    "Servings",
    "Stage",
    "StageSettings",
    "Version",
    "VersionError",
    "changed",
    "handlers",
    "job",
    "serve",
    "with_options",
]

"""Settings of the embedder."""

from pydantic import Field

from stagekit import StageSettings


class Settings(StageSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    embedder_engine: str = Field(
        "auto", description="auto, efficientnet-lite0, siglip, or package.module:factory"
    )
    embedder_device: str = Field("auto", description="auto (CUDA where there is one), cpu, cuda:N")
    embedder_threads: int = Field(
        0, ge=0, description="CPU threads of the engine; 0: OMP_NUM_THREADS, else all cores"
    )
    embedder_checkpoint: str = Field(
        "", description="weights of siglip: folder or owner/name@COMMIT, then #sha256:HEX or not"
    )
    checkpoints_allow_pickle: bool = Field(
        False, description="also weights in pickles, which can run any code when they are loaded"
    )
    checkpoints_allow_names: bool = Field(
        False, description="also branches and tags of a model hub, whose content may change"
    )
    heads_most: int = Field(
        1_000,
        ge=0,
        le=5_000,
        description="heads that an engine process holds, of all users; others do not label",
    )

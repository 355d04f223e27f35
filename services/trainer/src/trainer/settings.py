"""Settings of the trainer."""

from typing import Self

from pydantic import Field

from streamkit import ObjectSettings, WorkerSettings


class Settings(ObjectSettings, WorkerSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    training_time_limit_s: float = Field(
        3600.0, gt=0, description="that a training may take; a manifest may give it less"
    )
    training_lock_s: float = Field(
        30.0,
        ge=1,
        le=50,
        description="after so long the lock of a trainer that is gone, or cut off, is another's",
    )

    def of_worker(self) -> Self:
        """The same for the worker, whose deadlines come on top of a training's own limit: they are
        for one that does not end by itself."""
        return self.model_copy(
            update={
                "soft_deadline_s": self.training_time_limit_s + self.soft_deadline_s,
                "hard_deadline_s": self.training_time_limit_s + self.hard_deadline_s,
            }
        )

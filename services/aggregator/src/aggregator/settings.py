"""Settings of the aggregator."""

import socket
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from aggregator.routing import Policy, Thresholds
from streamkit import HeartbeatSettings, TopicSettings

Probability = Annotated[float, Field(ge=0, le=1)]


class Settings(HeartbeatSettings, TopicSettings):
    """Read once, frozen. Each setting is the variable DARKROOM_NAME or the flag --name."""

    policy_auto_above: Probability = Field(0.8, description="a surer label is set without asking")
    policy_review_below: Probability = Field(0.5, description="a less sure label goes to a person")
    policy_labels: Mapping[str, tuple[Probability, Probability]] = Field(
        {}, description='own thresholds of labels, JSON: {"label": [auto_above, review_below]}'
    )
    aggregator_instance: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="name of this process, unlike that of any other running aggregator; "
        "that of the machine by default",
    )
    aggregator_in_flight: int = Field(
        1_000, ge=1, le=10_000, description="records of an agent that are worked on at a time"
    )

    training_above: int = Field(
        50, ge=0, description="an import with more successes than that asks for a training"
    )
    state_kept_days: int = Field(
        31,
        ge=1,
        le=3650,
        description="what is over is kept in the tables for so long; longer than topics and "
        "dead letters are",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        pairs = [(self.policy_auto_above, self.policy_review_below), *self.policy_labels.values()]
        if any(auto < review for auto, review in pairs):
            raise ValueError("auto_above must not be less than review_below")
        return self

    def policy(self) -> Policy:
        """The confidence policy of revision 1."""
        return Policy(
            general=Thresholds(self.policy_auto_above, self.policy_review_below),
            labels={name: Thresholds(*pair) for name, pair in self.policy_labels.items()},
        )

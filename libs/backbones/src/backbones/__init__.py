"""Vision backbones that more than one service runs: from packages, folders and model hubs.

Knows nothing of messages, topics or stores: pictures in, arrays out. Importing it imports neither
torch nor transformers.
"""

from backbones.checkpoints import Checkpoint, CheckpointError, Policy, find
from backbones.efficientnet_lite0 import EfficientNetLite0, Output
from backbones.errors import BackboneError
from backbones.imagenet import imagenet_labels
from backbones.weights import WeightsError

__all__ = [
    "BackboneError",
    "Checkpoint",
    "CheckpointError",
    "EfficientNetLite0",
    "Output",
    "Policy",
    "WeightsError",
    "find",
    "imagenet_labels",
]

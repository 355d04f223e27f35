"""Vision backbones that more than one service runs, loaded from packages, never from a hub.

Knows nothing of messages, topics or stores: pictures in, arrays out.
"""

from backbones.efficientnet_lite0 import BackboneError, EfficientNetLite0, Output
from backbones.imagenet import imagenet_labels
from backbones.weights import WeightsError

__all__ = ["BackboneError", "EfficientNetLite0", "Output", "WeightsError", "imagenet_labels"]

"""What a trained head is, what it says of embeddings, and the file that it is kept in."""

from heads.file import HeadError
from heads.head import Head, Predictions, Rejection
from heads.labels import labels_of

__all__ = ["Head", "HeadError", "Predictions", "Rejection", "labels_of"]

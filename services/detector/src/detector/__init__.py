"""The detector: category and labels of a photo."""

"""The embedder: a vector that says what a photo resembles."""

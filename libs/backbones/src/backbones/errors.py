"""What running a network can raise, beside MemoryError."""


class BackboneError(RuntimeError):
    """The batch could not be computed, for another reason than memory."""

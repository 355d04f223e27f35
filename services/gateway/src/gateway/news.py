"""Where the doors tell each other what is new."""


def channel(topic_prefix: str) -> str:
    """The Redis channel of news: the recorder publishes, the api listens."""
    return f"{topic_prefix}darkroom:events"

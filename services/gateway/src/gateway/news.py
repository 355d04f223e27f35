"""Where the doors tell each other what is new."""


def channel(topic_prefix: str) -> str:
    """The Redis channel of news: recorder and control publish, the api listens.

    A message is a piece of news, or an array of several.
    """
    return f"{topic_prefix}darkroom:events"

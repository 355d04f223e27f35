"""The programs that a local stack is made of, and how each is configured."""

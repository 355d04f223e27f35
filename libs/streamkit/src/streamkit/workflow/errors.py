"""What is wrong with a declaration."""


class WorkflowError(ValueError):
    """The declaration contradicts itself; the message says where."""

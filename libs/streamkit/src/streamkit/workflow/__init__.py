"""Workflows: which stages there are, what each reads and writes, and where they meet again.

Declared in one place, as plain data. A workflow runs nothing: from it come the Job of each stage,
the joins, and the list of the topics that have to exist.
"""

from streamkit.workflow.branches import Branch, Value
from streamkit.workflow.declaration import Workflow
from streamkit.workflow.errors import WorkflowError
from streamkit.workflow.flows import Chain, Flow, Group, Stage, Step, Topics, chain, group, reads
from streamkit.workflow.joins import Join
from streamkit.workflow.mermaid import mermaid
from streamkit.workflow.parts import (
    EXPIRED,
    TICK_SCHEMA,
    Expiry,
    Failures,
    Joined,
    Part,
    everything,
)
from streamkit.workflow.topics import Topic, application_of, changelog_of, dead_letters_of

__all__ = [
    "EXPIRED",
    "TICK_SCHEMA",
    "Branch",
    "Chain",
    "Expiry",
    "Failures",
    "Flow",
    "Group",
    "Join",
    "Joined",
    "Part",
    "Stage",
    "Step",
    "Topic",
    "Topics",
    "Value",
    "Workflow",
    "WorkflowError",
    "application_of",
    "chain",
    "changelog_of",
    "dead_letters_of",
    "everything",
    "group",
    "mermaid",
    "reads",
]

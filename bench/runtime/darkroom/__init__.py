"""The same work on streamkit: a stage, the join, and what talks to them."""

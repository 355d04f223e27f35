"""What sends photos to a system and counts its outcomes: a process of its own."""

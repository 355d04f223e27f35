"""Intake: from a submission to a photo that is safe to look at, or to the reason why not."""

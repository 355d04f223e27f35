"""What of the detector's findings is compared between two versions of its model."""

from stagekit import Found, Said


def says(found: Found) -> Said:
    """The best label, and all that are kept with their confidences."""
    weights = {label["name"]: label["confidence"] for label in found["labels"]}
    if not found["labels"]:
        return Said("", None, weights)
    best = found["labels"][0]
    return Said(best["name"], best["confidence"], weights)

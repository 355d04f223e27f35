"""What of the ocr's findings is compared between two versions of its model."""

from collections import Counter

from stagekit import Found, Said


def says(found: Found) -> Said:
    """The text with single spaces between its words; it consists of those."""
    words = found["text"].split()
    return Said(" ".join(words), None, Counter(words))

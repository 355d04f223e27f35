"""The names of the 1,000 classes of ImageNet-1k."""

from functools import cache
from importlib import resources


@cache
def imagenet_labels() -> tuple[str, ...]:
    """One name per class, in the order of the model's outputs; all are different.

    The first WordNet lemma of each class, except where it says too little when it stands alone:
    `tabby` is here `tabby cat`, and the two cranes are told apart.
    """
    text = resources.files("backbones").joinpath("imagenet1k.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())

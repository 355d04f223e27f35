"""The names of the classes, held against the lists that timm ships."""

import importlib.util
import re
from pathlib import Path

import pytest

from backbones import imagenet_labels

SAID_OTHERWISE = {"rooster", "tusked elephant", "jeans", "pot pie", "alpine mountain"}
"""Labels that share no word with WordNet's lemmas: cock, tusker, jean, potpie, alp."""


def _timm_lists() -> Path:
    """Folder of timm's lists, found without importing timm (8 seconds)."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "data" / "_info"


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_there_are_a_thousand_different_labels() -> None:
    assert len(imagenet_labels()) == 1000
    assert len(set(imagenet_labels())) == 1000
    assert all(label == label.strip() and label for label in imagenet_labels())


def test_every_label_shares_a_word_with_the_wordnet_lemmas_of_its_class() -> None:
    lists = _timm_lists()
    synsets = (lists / "imagenet_synsets.txt").read_text().split()
    lemmas = dict(
        line.split("\t")
        for line in (lists / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    )
    strangers = {
        label
        for label, synset in zip(imagenet_labels(), synsets, strict=True)
        if not _words(label) & _words(lemmas[synset])
    }
    assert strangers == SAID_OTHERWISE


@pytest.mark.parametrize(
    ("index", "label"),
    [
        (0, "tench"),
        (281, "tabby cat"),
        (285, "Egyptian cat"),
        (967, "espresso"),
        (999, "toilet tissue"),
    ],
)
def test_labels_stand_in_the_order_of_the_outputs(index: int, label: str) -> None:
    assert imagenet_labels()[index] == label


def test_words_with_two_meanings_are_told_apart() -> None:
    assert {"crane (bird)", "crane (machine)", "computer mouse"} <= set(imagenet_labels())

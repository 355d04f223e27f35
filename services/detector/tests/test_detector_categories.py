"""The sorting of ImageNet's classes into categories."""

from collections import Counter
from importlib import resources

import numpy as np
import pytest

from backbones import imagenet_labels
from detector.categories import CATEGORY_OF_CLASS, best_category


def test_every_one_of_the_thousand_labels_has_exactly_one_category() -> None:
    text = resources.files("detector").joinpath("imagenet_categories.tsv").read_text()
    rows = [line.split("\t") for line in text.splitlines()]
    assert all(len(row) == 2 and all(row) for row in rows)
    assert tuple(label for label, _ in rows) == imagenet_labels()
    assert tuple(category for _, category in rows) == CATEGORY_OF_CLASS


def test_there_are_few_categories_and_each_has_several_labels() -> None:
    sizes = Counter(CATEGORY_OF_CLASS)
    assert len(sizes) == 24
    assert min(sizes.values()) >= 3


@pytest.mark.parametrize(
    ("label", "category"),
    [
        ("Egyptian cat", "cat"),
        ("golden retriever", "dog"),
        ("crane (bird)", "bird"),
        ("crane (machine)", "vehicle"),
        ("tree frog", "reptile or amphibian"),
        ("black widow", "insect or spider"),
        ("red panda", "other animal"),
        ("espresso", "food or drink"),
        ("cup", "kitchenware"),
        ("daisy", "plant or fungus"),
        ("seashore", "landscape"),
        ("castle", "building or place"),
        ("airliner", "vehicle"),
        ("baseball player", "person"),
        ("violin", "musical instrument"),
        ("street sign", "document or sign"),
    ],
)
def test_a_label_lies_where_a_person_would_look_for_it(label: str, category: str) -> None:
    assert CATEGORY_OF_CLASS[imagenet_labels().index(label)] == category


def test_the_category_with_the_most_probability_wins_over_the_best_single_label() -> None:
    probabilities = np.array([0.4, 0.3, 0.3])
    assert best_category(probabilities, ["cat", "dog", "dog"]) == "dog"


def test_of_equal_categories_the_first_in_the_alphabet_is_taken() -> None:
    assert best_category(np.array([0.5, 0.5]), ["dog", "cat"]) == "cat"


def test_a_label_without_a_category_leaves_a_photo_without_one() -> None:
    assert best_category(np.array([0.6, 0.4]), ["", "dog"]) is None
    assert best_category(np.array([0.4, 0.6]), ["", "dog"]) == "dog"


def test_none_of_these_outweighs_every_category() -> None:
    assert best_category(np.array([0.3, 0.1]), ["cat", "dog"]) is None
    assert best_category(np.array([0.4, 0.3]), ["cat", "dog"]) == "cat"

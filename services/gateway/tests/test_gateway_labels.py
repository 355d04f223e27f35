"""Reviews and labels, as far as they are decided without a database."""

from uuid import uuid4

import pytest

from gateway.catalog.example_imports import sort_files
from gateway.catalog.label_shapes import Wish, verdict
from gateway.catalog.review_shapes import ReviewError, Said
from gateway.catalog.reviews import label_of
from gateway.catalog.shapes import AnswerKind


@pytest.mark.parametrize(
    ("labels", "counts", "sentence"),
    [
        (["a", "b"], {"a": 3, "b": 3}, "There are enough examples."),
        (["a", "b"], {"a": 9, "b": 2}, "Needs 1 more of `b`."),
        (["a", "b"], {}, "Needs 3 more of `a` and 3 more of `b`."),
        (["a", "b", "c"], {"b": 1}, "Needs 3 more of `a`, 2 more of `b` and 3 more of `c`."),
        (["a"], {"a": 3}, "Needs a second label, or 3 more of `none`."),
        (["a"], {"a": 3, None: 2}, "Needs a second label, or 1 more of `none`."),
        (["a"], {"a": 1}, "Needs 2 more of `a`; and a second label, or 3 more of `none`."),
        (["a"], {"a": 3, None: 3}, "There are enough examples."),
        (["a"], {"a": 1, None: 3}, "Needs 2 more of `a`."),
        (["a", "b"], {"a": 3, "b": 3, None: 1}, "There are enough examples."),
        ([], {}, "Needs 2 labels."),
    ],
)
def test_a_verdict_names_what_is_missing(
    labels: list[str], counts: dict[str | None, int], sentence: str
) -> None:
    said = verdict(labels, counts, 3)
    assert said.sentence == sentence
    assert said.enough == (sentence == "There are enough examples.")
    assert sum(one.needs for one in said.missing) == sum(
        max(0, 3 - counts.get(one, 0)) for one in labels
    )


def test_the_nearest_folder_says_what_a_file_shows() -> None:
    folders = {"/p/receipt": "receipt", "/p/receipt/none": None, "/p/re": "other"}
    found = sort_files(
        [
            ("/p/receipt/1.jpg", "one"),
            ("/p/receipt/monday/2.jpg", "two"),
            ("/p/receipt/none/3.jpg", "three"),
            ("/p/receipt/4.jpg", None),
            ("/p/receipts/5.jpg", "five"),
            ("/p/receipt", "six"),
            ("/p/re/7.jpg", "one"),
            ("/p/receipt/again.jpg", "two"),
        ],
        folders,
    )
    assert found.wishes() == [Wish("two", "receipt"), Wish("three", None)]
    assert [(one.photo_id, one.paths) for one in found.ambiguous()] == [
        ("one", ["/p/receipt/1.jpg", "/p/re/7.jpg"])
    ]
    assert (found.outside, found.without_photo) == (2, 1)


@pytest.mark.parametrize(
    ("answer", "label", "suggested", "meant"),
    [
        ("confirm", None, "cat", "cat"),
        ("confirm", "cat", "cat", "cat"),
        ("correct", "dog", "cat", "dog"),
        ("correct", "dog", None, "dog"),
        ("none", None, "cat", None),
        ("skip", None, "cat", None),
    ],
)
def test_what_an_answer_says(
    answer: AnswerKind, label: str | None, suggested: str | None, meant: str | None
) -> None:
    assert label_of(Said(uuid4(), answer, label, "ada"), suggested) == meant


@pytest.mark.parametrize(
    ("answer", "label", "suggested", "code"),
    [
        ("confirm", None, None, "nothing_to_confirm"),
        ("confirm", "dog", "cat", "label_not_meant"),
        ("correct", None, "cat", "label_missing"),
        ("correct", "cat", "cat", "same_label"),
        ("none", "cat", "cat", "label_not_meant"),
        ("skip", "cat", "cat", "label_not_meant"),
    ],
)
def test_what_no_answer_can_say(
    answer: AnswerKind, label: str | None, suggested: str | None, code: str
) -> None:
    with pytest.raises(ReviewError) as refused:
        label_of(Said(uuid4(), answer, label, "ada"), suggested)
    assert (refused.value.code, refused.value.status) == (code, 422)

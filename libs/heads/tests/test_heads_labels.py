"""Which labels a photo gets of a head."""

import numpy as np

from heads import Head, Rejection, labels_of


def unit(rows: object) -> np.ndarray:
    vectors = np.asarray(rows, np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def head(labels: int, rejection: Rejection) -> Head:
    names = tuple(f"label {number}" for number in range(labels))
    means = np.eye(labels, dtype=np.float32)
    return Head(names, "m@1", 3 * means, np.zeros(labels, np.float32), means, 1.0, rejection)


ALWAYS = Rejection(0.0, 0.0, 40.0)


def test_the_best_come_first_and_no_more_than_so_many() -> None:
    vector = unit([[1, 2, 3, 4, 5, 6, 7]])
    (said,) = labels_of(head(7, ALWAYS), vector)
    assert [name for name, _ in said] == [f"label {at}" for at in (6, 5, 4, 3, 2)]
    sure = [confidence for _, confidence in said]
    assert sure == sorted(sure, reverse=True)
    assert sum(sure) < 1.0
    assert labels_of(head(7, ALWAYS), vector, most=1) == [said[:1]]


def test_a_head_of_few_labels_says_all_of_them_equals_in_its_order() -> None:
    said, other = labels_of(head(3, ALWAYS), unit([[1, 1, 0], [0, 0, 1]]))
    assert [name for name, _ in said] == ["label 0", "label 1", "label 2"]
    assert [name for name, _ in other] == ["label 2", "label 0", "label 1"]


def test_what_is_likelier_none_has_no_label() -> None:
    near, far = unit([[1, 0, 0], [1, 1, 1]])
    said = labels_of(head(3, Rejection(40.0, 0.0, -30.0)), np.stack([far, near]))
    assert said[0] == []
    assert said[1][0][0] == "label 0"


def test_no_embeddings_have_no_labels() -> None:
    assert labels_of(head(3, ALWAYS), np.empty((0, 3), np.float32)) == []

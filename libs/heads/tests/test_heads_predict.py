"""What a head says of embeddings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads import Head, HeadError, Rejection

MODEL = "efficientnet-lite0@0123456789ab"


NEVER_NONE = Rejection(0.0, 0.0, 40.0)


def unit(rows: object) -> np.ndarray:
    vectors = np.asarray(rows, np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def head(
    *,
    labels: tuple[str, ...] = ("cat", "dog", "receipt"),
    dimension: int = 8,
    none: bool = False,
    temperature: float = 0.5,
    rejection: Rejection = NEVER_NONE,
    seed: int = 0,
) -> Head:
    draw = np.random.default_rng(seed)
    rows = len(labels) + none
    return Head(
        labels=labels,
        model_version=MODEL,
        weights=draw.normal(size=(rows, dimension)).astype(np.float32),
        bias=draw.normal(size=rows).astype(np.float32),
        means=unit(draw.normal(size=(len(labels), dimension))),
        temperature=temperature,
        rejection=rejection,
    )


def vectors(count: int, dimension: int = 8, seed: int = 1) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


@given(
    st.integers(0, 2**31),
    st.booleans(),
    st.floats(0.01, 100),
    st.tuples(*[st.floats(-50, 50)] * 3),
)
def test_a_row_and_its_none_are_one_together(
    seed: int, none: bool, temperature: float, rule: tuple[float, float, float]
) -> None:
    one = head(none=none, temperature=temperature, rejection=Rejection(*rule), seed=seed)
    found = one.predict(vectors(5, seed=seed))
    assert np.isfinite(found.confidences).all()
    assert (found.confidences >= 0).all()
    assert found.confidences.sum(axis=1) + found.none == pytest.approx(1.0, abs=1e-5)


def test_labels_share_by_the_softmax_of_their_logits() -> None:
    one, asked = head(), vectors(4)
    scaled = (asked @ one.weights.T + one.bias) / 0.5
    wanted = np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
    assert one.predict(asked).confidences == pytest.approx(wanted, abs=1e-5)


def test_a_higher_temperature_is_less_sure_of_the_same_label() -> None:
    asked = vectors(20)
    sure, unsure = (head(temperature=one).predict(asked) for one in (0.2, 5.0))
    assert [label for label, _ in sure.best()] == [label for label, _ in unsure.best()]
    assert (sure.confidences.max(axis=1) > unsure.confidences.max(axis=1)).all()


def test_what_is_far_from_every_label_is_none() -> None:
    one = head(rejection=Rejection(40.0, 0.0, -20.0))
    near, far = one.means[:1], -one.means.mean(axis=0, keepdims=True)
    found = one.predict(unit(np.concatenate([near, far])))
    assert found.none[0] < 0.01
    assert found.none[1] > 0.99
    assert [label for label, _ in found.best()][1] is None


def test_a_logit_of_none_takes_from_all_labels() -> None:
    one = head(none=True, rejection=Rejection(0.0, 1.0, 0.0))
    asked = vectors(6)
    logits = (asked @ one.weights.T + one.bias).astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert one.knows_none
    assert one.predict(asked).none == pytest.approx(softmax[:, -1], abs=1e-5)


def test_two_labels_that_are_as_likely_are_no_none() -> None:
    one = Head(
        ("a", "b", "c"),
        MODEL,
        np.zeros((3, 2), np.float32),
        np.zeros(3, np.float32),
        unit([[1, 0], [0, 1], [1, 1]]),
        1.0,
        Rejection(0.0, 0.0, 0.2),
    )
    ((label, sure),) = one.predict(unit([[1, 0]])).best()
    assert label == "a"
    assert sure < 0.5


def test_no_embeddings_give_no_answers() -> None:
    assert head().predict(np.empty((0, 8), np.float32)).best() == []


def test_a_batch_says_what_each_says_alone() -> None:
    one, asked = head(), vectors(7)
    together = one.predict(asked).confidences
    alone = [one.predict(asked[at : at + 1]).confidences[0] for at in range(7)]
    assert together == pytest.approx(np.stack(alone), abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (np.ones((2, 7), np.float32), "takes embeddings of 8 numbers"),
        (np.ones(8, np.float32), "takes embeddings of 8 numbers"),
        (np.ones((2, 8), np.float32), "Embedding 0 is not of length 1"),
        (np.full((1, 8), np.nan, np.float32), "Embedding 0 is not of length 1 but nan"),
    ],
)
def test_what_is_no_such_embedding_is_refused(asked: np.ndarray, told: str) -> None:
    with pytest.raises(HeadError, match=told):
        head().predict(asked)

"""How good a head is, what is suspicious, whether there is enough, and the gate."""

from dataclasses import replace

import numpy as np
import pytest

from sphere import around, clusters, middles, unit, with_labels
from trainer.assessing import assess
from trainer.examples import Examples, Label
from trainer.fitting import fit
from trainer.policy import Policy
from trainer.suspicion import Doubt, suspicious
from trainer.verdicts import answers_of, enough, gate

NAMES = ("bill", "cat", "dog", "map")


def swapped(examples: Examples, places: list[int]) -> Examples:
    """These examples with the label after their own."""
    labels: list[Label] = list(examples.labels)
    for at in places:
        labels[at] = NAMES[(NAMES.index(str(labels[at])) + 1) % len(NAMES)]
    return with_labels(examples, labels)


def joined(one: Examples, other: Examples) -> Examples:
    return Examples.of(
        one.keys + other.keys,
        one.labels + other.labels,
        np.concatenate([one.vectors, other.vectors]),
        [*one.weights, *other.weights],
    )


def test_accuracy_is_what_unseen_examples_find() -> None:
    places = middles(4)
    shown = clusters(NAMES, 20, width=2.2, among=places)
    found = assess(shown)
    unseen = clusters(NAMES, 200, seed=99, width=2.2, among=places)
    said = [label for label, _ in fit(shown, "m").head.predict(unseen.vectors).best()]
    true = np.mean([one == label for one, label in zip(said, unseen.labels, strict=True)])
    assert found.low < true < found.high
    assert found.examples == 80
    assert found.accuracy == found.right / 80


def test_chance_is_not_taken_for_knowledge() -> None:
    same = around(middles(1)[0], 60, 1)
    labels = [NAMES[at % 4] for at in range(60)]
    found = assess(Examples.of([f"{at}" for at in range(60)], labels, same))
    assert found.accuracy < 0.5


def test_copies_do_not_make_a_head_look_good() -> None:
    """Ten examples of noise, each ten times: a head that is shown nine of ten knows the tenth."""
    ten = unit(np.random.default_rng(0).normal(size=(20, 32)))
    labels = [NAMES[at % 2] for at in range(20) for _ in range(5)]
    found = assess(Examples.of([f"{at}" for at in range(100)], labels, np.repeat(ten, 5, axis=0)))
    assert found.accuracy < 0.75


def test_the_tables_count_the_same_answers() -> None:
    found = assess(clusters((*NAMES, None), 12, width=1.5))
    table = np.array(found.confusion)
    assert table.sum() == found.examples == 60
    assert np.trace(table) == found.right
    for at, name in enumerate((*NAMES, "none")):
        of_label = found.by_label[name]
        assert of_label.examples == 12
        assert of_label.recall == pytest.approx(table[at, at] / 12)
        if table[:, at].sum():
            assert of_label.precision == pytest.approx(table[at, at] / table[:, at].sum())
    assert all(sum(one.confidences) == pytest.approx(1, abs=1e-5) for one in found.answers)


def test_the_same_seed_assesses_alike() -> None:
    examples = clusters(NAMES, 8, width=1.5)
    assert assess(examples, seed=4) == assess(examples, seed=4)


def test_what_a_head_labelled_teaches_and_judges_nothing() -> None:
    people = clusters(NAMES, 6)
    more = clusters(NAMES, 6, seed=5, among=middles(4))
    auto = Examples.of(
        [f"auto-{key}" for key in more.keys], more.labels, more.vectors, [0.3] * len(more)
    )
    found = assess(joined(people, auto))
    assert found.examples == len(people)
    assert {one.key for one in found.answers if one.judges} == set(people.keys)


@pytest.mark.parametrize(
    "examples",
    [
        Examples.of(["one"], ["cat"], middles(1)),
        Examples.of(["a", "b"], ["cat", "dog"], middles(2)),
        Examples.of(["a", "b"], ["cat", "dog"], np.repeat(middles(1), 2, axis=0)),
    ],
    ids=["one example", "one of each", "one picture with two labels"],
)
def test_what_can_not_be_judged_is_not_published(examples: Examples) -> None:
    found = assess(examples)
    assert found.examples == 0
    assert (found.low, found.high) == (0.0, 1.0)
    decision = gate(found)
    assert not decision.publish
    assert "could be held out" in decision.reason


def test_a_label_with_one_example_is_not_published_beside_good_ones() -> None:
    examples = joined(clusters(NAMES, 8), Examples.of(["lone"], ["lone"], -middles(1)))
    found = assess(examples)
    assert found.unjudged == ("lone",)
    assert "`lone`" in gate(found).reason
    assert not gate(found).publish


def test_mislabelled_examples_are_found() -> None:
    wrong = list(range(0, 120, 12))
    examples = swapped(clusters(NAMES, 30, width=1.2), wrong)
    keys = {clusters(NAMES, 30).keys[at] for at in wrong}
    found = suspicious(examples, assess(examples))
    told = {one.key for one in found if one.doubt is Doubt.MISLABELLED}
    assert len(told & keys) / len(keys) >= 0.8
    assert len(told & keys) / len(told) >= 0.8


def test_a_photo_of_a_label_that_was_said_to_be_none_is_found() -> None:
    places = middles(3)
    examples = clusters(("cat", "dog", None), 15, among=places)
    wrong = Examples.of(["wrong"], [None], around(places[0], 1, 77))
    examples = joined(examples, wrong)
    found = suspicious(examples, assess(examples))
    assert ("wrong", Doubt.MISLABELLED) in {(one.key, one.doubt) for one in found}
    assert len([one for one in found if one.key.startswith("none")]) <= 2


def test_good_examples_are_not_suspicious() -> None:
    examples = clusters(NAMES, 25)
    assert len(suspicious(examples, assess(examples))) <= 3


def test_a_reason_names_both_labels() -> None:
    examples = swapped(clusters(NAMES, 15), [0])
    found = {(one.key, one.doubt): one.reason for one in suspicious(examples, assess(examples))}
    assert found["bill-0", Doubt.MISLABELLED] == "It is `cat`, but looks like `bill`."


def test_copies_contradictions_and_outliers_are_named() -> None:
    one = clusters(NAMES, 8)
    at = {key: place for place, key in enumerate(one.keys)}
    odd = Examples.of(
        ["cat-copy", "cat-as-dog", "map-odd"],
        ["cat", "dog", "map"],
        np.stack([one.vectors[at["cat-1"]], one.vectors[at["cat-2"]], unit(-middles(4)[3:])[0]]),
    )
    examples = joined(one, odd)
    found = {(each.key, each.doubt): each for each in suspicious(examples, assess(examples))}
    assert found["cat-copy", Doubt.COPY].other == "cat-1"
    assert found["cat-2", Doubt.CONTRADICTED].other == "cat-as-dog"
    assert found["cat-as-dog", Doubt.CONTRADICTED].other == "cat-2"
    assert "unlike the other examples of `map`" in found["map-odd", Doubt.OUTLIER].reason
    assert ("cat-1", Doubt.COPY) not in found


def test_a_verdict_says_what_is_missing() -> None:
    examples = clusters(("cat", "receipt"), 5).some(np.arange(10) < 7)
    found = enough(examples, ["cat", "map", "receipt"])
    assert not found.enough
    assert found.missing == {"map": 5, "receipt": 3}
    assert found.reason == "needs 5 more of `map` and 3 more of `receipt`"


def test_five_of_each_are_enough() -> None:
    assert enough(clusters(NAMES, 5), NAMES).enough


def test_copies_and_what_a_head_labelled_are_not_counted() -> None:
    one = clusters(("cat", "dog"), 5)
    copied = one.vectors.copy()
    copied[1] = copied[0]
    weights = [1.0] * 10
    weights[7] = weights[8] = 0.3
    found = enough(Examples.of(one.keys, one.labels, copied, weights), NAMES[1:3])
    assert found.missing == {"cat": 1, "dog": 2}


def test_one_label_alone_needs_another_or_none() -> None:
    alone = clusters(("cat",), 6)
    assert "needs a second label, or 5 more of `none`" in enough(alone, ["cat"]).reason
    assert enough(clusters(("cat", None), 6), ["cat"]).enough
    assert not enough(alone.some(np.zeros(6, np.bool_)), []).enough


def test_a_good_head_is_published() -> None:
    decision = gate(assess(clusters(NAMES, 10)))
    assert decision.publish
    assert decision.active_accuracy is None


def test_a_head_that_is_not_above_the_least_is_kept_with_the_reason() -> None:
    found = replace(assess(clusters(NAMES, 10)), accuracy=0.8)
    assert not gate(found).publish
    assert "is not above 80.0%" in gate(found).reason
    assert gate(found, policy=Policy(least_accuracy=0.79)).publish


def test_a_head_that_is_worse_than_the_one_in_use_is_kept() -> None:
    examples = clusters(NAMES, 15, width=2.0)
    found = assess(examples)
    best = dict(zip(examples.keys, examples.labels, strict=True))
    assert found.accuracy < 1
    decision = gate(found, best, Policy(least_accuracy=0.5))
    assert not decision.publish
    assert decision.active_accuracy == 1
    assert "of the same 60 examples" in decision.reason
    assert gate(found, found.said, Policy(least_accuracy=0.5)).publish


def test_the_head_in_use_is_not_asked_what_it_was_told() -> None:
    """On noise it knows its own examples by heart; a new head must not be measured by that."""
    noise = unit(np.random.default_rng(3).normal(size=(40, 32)))
    old = Examples.of([f"{at}" for at in range(40)], [NAMES[at % 4] for at in range(40)], noise)
    head, remembered = fit(old, "m").head, assess(old).said
    by_heart = answers_of(head, old, {})
    fair = answers_of(head, old, remembered)
    true = dict(zip(old.keys, old.labels, strict=True))
    right = [sum(said[key] == true[key] for key in true) for said in (by_heart, fair)]
    assert right[0] > 36
    assert right[1] < 24


def test_a_new_label_counts_against_the_head_that_lacks_it() -> None:
    places = middles(4)
    old = clusters(NAMES[:3], 8, among=places)
    new = joined(
        old, Examples.of([f"m{n}" for n in range(8)], ["map"] * 8, around(places[3], 8, 7))
    )
    active = answers_of(fit(old, "m").head, new, assess(old).said)
    decision = gate(assess(new), active)
    assert decision.publish
    assert decision.active_accuracy is not None
    assert decision.active_accuracy <= 0.75

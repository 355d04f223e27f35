"""What is replayed is an import's story, and its totals are known beforehand."""

from collections import Counter

from bench.imports.replay import story, sums_of

from darkroom_schemas import ids
from darkroom_schemas.names import BATCH_INTAKE, BATCH_PHOTO_ENDED

PHOTOS = 10_050


def test_every_index_ends_and_its_first_end_is_marked_once() -> None:
    told = list(story(PHOTOS))
    ends = [(emit, end) for emit, end in told if emit.topic == BATCH_PHOTO_ENDED]
    first: dict[int, str] = {}
    for emit, end in ends:
        if end is not None:
            assert emit.value["index"] not in first
            first[emit.value["index"]] = emit.value["end"]

    assert sorted(first) == list(range(PHOTOS))
    assert 0 < len(ends) - PHOTOS < PHOTOS // 20
    assert all(first[emit.value["index"]] == emit.value["end"] for emit, _ in ends)


def test_the_scan_is_told_to_its_end() -> None:
    intake = [emit for emit, _ in story(PHOTOS) if emit.topic == BATCH_INTAKE]
    assert (intake[0].value["state"], intake[-1].value["state"]) == ("started", "sealed")
    assert intake[-1].value["submitted"] == PHOTOS


def test_records_have_the_keys_and_ids_of_the_real_ones() -> None:
    emits = [emit for emit, _ in story(5_000) if emit.topic == BATCH_PHOTO_ENDED]
    for emit in emits:
        value = emit.value
        assert emit.key == ids.chunk_key(value["batch_id"], ids.chunk_of(value["index"]))
    assert len({emit.id for emit in emits}) == 5_000


def test_the_same_number_gives_the_same_story() -> None:
    assert list(story(300)) == list(story(300))


def test_totals_follow_from_the_ends_told() -> None:
    ends = Counter(end for _, end in story(PHOTOS) if end is not None)
    sums = sums_of(ends, PHOTOS)

    assert sums["found"] == PHOTOS == sums["accepted"] + sums["rejected"]
    assert sums["accepted"] == sums["auto_labeled"] + sums["suggested"] + sums["review"]
    assert sums["partial"] == ends["review+partial"] > 0

"""Imports and what becomes of their photos, as Hypothesis makes them up."""

from hypothesis import strategies as st

from aggregator_events import (
    Event,
    cancelled,
    deadline,
    detected,
    embedded,
    failed,
    intake,
    joined,
    read,
    rejected,
)

CONFIDENCES = st.sampled_from([0.0, 0.49, 0.5, 0.65, 0.8, 0.81, 1.0]) | st.floats(0, 1)


@st.composite
def stage_ends(draw: st.DrawFn, number: int) -> list[Event]:
    """How the three stages of a photo end: each by its part or by its failure."""
    parts = [detected(number, draw(CONFIDENCES)), read(number), embedded(number)]
    return [
        failed(part[2]["stage"], number) if draw(st.booleans()) and draw(st.booleans()) else part
        for part in parts
    ]


@st.composite
def photos(draw: st.DrawFn, number: int) -> list[Event]:
    """All events of one photo but its imports: rejected, cancelled, or looked at by three stages,
    of which some may have had their time."""
    how = draw(st.integers(0, 6))
    if how < 2:
        return [rejected(number) if how else cancelled(number)]
    ends = draw(stage_ends(number))
    if how > 2:
        return ends
    said = draw(st.integers(0, 2))
    late = {"detector", "ocr", "embedder"} - {one[2]["stage"] for one in ends[:said]}
    return [*ends[:said], deadline(*sorted(late), number=number)]


@st.composite
def imports(draw: st.DrawFn) -> tuple[list[Event], list[dict[str, int]]]:
    """Events of up to four photos in up to two imports that share some, and the imports' counts."""
    count = draw(st.integers(0, 4))
    events = [event for number in range(count) for event in draw(photos(number))]
    totals = []
    for in_batch in range(draw(st.integers(1, 2))):
        members = draw(st.sets(st.integers(0, count - 1))) if count else set()
        far = draw(st.sampled_from([0, 4094]))  # over the edge of a chunk
        places = {number: far + place for place, number in enumerate(sorted(members))}
        events += [joined(number, place, in_batch) for number, place in places.items()]
        duplicates, refused = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        counts = {"duplicates": duplicates, "refused": refused, "submitted": len(members)}
        counts["found"] = sum(counts.values())
        events.append(intake(in_batch, "started"))
        events.append(intake(in_batch, "sealed", 6, **counts))
        totals.append(counts)
    return events, totals


@st.composite
def shuffled(draw: st.DrawFn, events: list[Event]) -> list[Event]:
    """In any order, some of them several times."""
    repeated = draw(st.lists(st.sampled_from(events), max_size=8))
    return draw(st.permutations([*events, *repeated]))

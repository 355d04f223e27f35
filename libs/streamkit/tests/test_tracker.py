"""The offset tracker: whatever happens, a commit never passes an unfinished record."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamkit.records import Partition
from streamkit.tracker import OffsetTracker

PARTITION = Partition("photo.uploaded.v1", 3)


def tracker(*offsets: int, epoch: int = 1, window: int = 10_000) -> OffsetTracker:
    """A tracker that has taken these."""
    made = OffsetTracker(PARTITION, epoch, window)
    for offset in offsets:
        assert made.take(offset)
    return made


# -- one assignment ---------------------------------------------------------------------------


def test_a_tracker_says_what_it_is_for() -> None:
    made = OffsetTracker(PARTITION, 7)
    assert (made.partition, made.epoch) == (PARTITION, 7)


def test_nothing_is_to_be_committed_at_the_start() -> None:
    assert OffsetTracker(PARTITION, 1).committable() is None


def test_nothing_is_to_be_committed_while_the_first_record_is_under_way() -> None:
    assert tracker(5, 6).committable() is None


def test_the_very_first_offset_of_a_log_is_tracked_like_any_other() -> None:
    made = tracker(0)
    assert made.committable() is None
    assert not made.take(0)
    made.complete(0)
    assert made.committable() == 1


def test_when_all_is_done_the_commit_is_one_past_the_last() -> None:
    made = tracker(5, 6)
    made.complete(5)
    made.complete(6)
    assert made.committable() == 7


def test_a_record_that_finishes_early_waits_for_those_before_it() -> None:
    made = tracker(5, 6, 7)
    made.complete(6)
    assert made.committable() is None
    made.complete(5)
    assert made.committable() == 7


def test_a_commit_skips_gaps_up_to_the_lowest_unfinished_record() -> None:
    made = tracker(5, 9, 20)
    made.complete(5)
    assert made.committable() == 9


def test_what_was_committed_is_not_committed_again() -> None:
    made = tracker(5, 6)
    made.complete(5)
    made.committed(6)
    assert made.committable() is None
    made.complete(6)
    assert made.committable() == 7


def test_asking_what_to_commit_changes_nothing() -> None:
    made = tracker(5)
    made.complete(5)
    assert [made.committable(), made.committable()] == [6, 6]


def test_the_position_is_told_also_of_what_was_handed_over_to_be_committed() -> None:
    made = tracker(5, 6)
    made.complete(5)
    made.committed(6)
    assert made.position() == 6
    made.complete(6)
    made.committed(7)
    assert made.position() == 7


def test_there_is_no_position_before_the_first_record_nor_after_the_end() -> None:
    made = OffsetTracker(PARTITION, 1)
    assert made.position() is None
    made.take(0)
    assert made.position() == 0
    made.close()
    assert made.position() is None


def test_a_commit_that_is_reported_before_the_first_record_is_no_trouble() -> None:
    made = OffsetTracker(PARTITION, 1)
    made.committed(7)
    assert made.committable() is None
    made.take(7)
    made.complete(7)
    assert made.committable() == 8


def test_an_older_commit_that_is_reported_late_takes_nothing_back() -> None:
    made = tracker(5, 6)
    made.complete(5)
    made.complete(6)
    made.committed(7)
    made.committed(6)
    assert made.committable() is None


def test_a_redelivery_within_an_epoch_is_ignored_whether_finished_or_not() -> None:
    made = tracker(5, 6)
    made.complete(5)
    assert not made.take(5)
    assert not made.take(6)
    assert made.in_flight == 1
    made.complete(6)
    assert made.committable() == 7


def test_a_record_from_below_what_was_taken_first_is_ignored() -> None:
    made = tracker(5)
    assert not made.take(4)
    made.complete(5)
    assert made.committable() == 6


def test_completing_twice_counts_once() -> None:
    made = tracker(5, 6)
    made.complete(5)
    made.complete(5)
    assert (made.in_flight, made.committable()) == (1, 6)


def test_completing_what_was_never_taken_changes_nothing() -> None:
    made = tracker(5, 9)
    for never in (4, 7, 10):
        made.complete(never)
    assert (made.in_flight, made.committable()) == (2, None)


def test_in_flight_counts_what_is_unfinished_not_the_distance() -> None:
    made = tracker(5, 600, 601)
    made.complete(600)
    assert made.in_flight == 2


def test_the_window_is_ten_thousand_unless_said_otherwise() -> None:
    made = OffsetTracker(PARTITION, 1)
    made.take(0)
    made.take(9_999)
    assert not made.full
    made.take(10_000)
    assert made.full


@given(st.permutations(range(12)))
def test_in_whatever_order_records_finish_commits_only_rise(order: list[int]) -> None:
    made = tracker(*range(12))
    commits = []
    for offset in order:
        made.complete(offset)
        if (commit := made.committable()) is not None:
            made.committed(commit)
            commits.append(commit)
    assert commits[-1] == 12
    assert all(earlier < later for earlier, later in pairwise(commits))


# -- bugs that others have had ----------------------------------------------------------------


def test_a_revoke_commits_the_lowest_unfinished_and_not_the_highest_seen() -> None:
    made = tracker(*range(100, 110))
    for offset in (100, 101, 105, 109):
        made.complete(offset)
    assert made.committable() == 102


def test_no_stale_entry_is_left_at_an_offset_after_a_rebalance() -> None:
    """The partition goes and comes back with offset 6 unfinished: the new epoch begins clean, and
    its own 6 is neither held up by the old entry nor taken for finished because of it."""
    before = tracker(5, 6, epoch=1)
    before.complete(5)
    before.close()
    after = tracker(6, 7, epoch=2)
    assert (before.in_flight, after.in_flight) == (0, 2)
    after.complete(7)
    assert after.committable() is None
    after.complete(6)
    assert after.committable() == 8


def test_a_late_completion_of_an_old_epoch_is_dropped() -> None:
    """Work that was begun before the rebalance ends after it, while the new owner of the offset
    (here the same worker) is still at it."""
    before = tracker(5, epoch=1)
    before.close()
    after = tracker(5, epoch=2)
    before.complete(5)
    assert before.committable() is None
    assert (after.in_flight, after.committable()) == (1, None)


def test_a_poison_head_fills_the_window_and_frees_it_once_it_is_done_with() -> None:
    made = tracker(0, window=100)
    for offset in range(1, 100):
        made.take(offset)
        made.complete(offset)
        assert not made.full
    assert made.take(100)
    assert made.full
    made.complete(100)
    assert (made.full, made.committable()) == (True, None)
    made.complete(0)
    assert (made.full, made.in_flight, made.committable()) == (False, 0, 101)


def test_a_full_window_moves_on_with_its_oldest_record() -> None:
    made = tracker(0, 5, 10, window=10)
    assert made.full
    made.complete(0)
    assert not made.full
    made.take(15)
    assert made.full


def test_records_that_were_fetched_already_are_taken_although_the_window_is_full() -> None:
    made = tracker(0, 10, window=10)
    assert made.full
    assert made.take(11)
    assert made.in_flight == 3


# -- after the end ----------------------------------------------------------------------------


def test_a_closed_epoch_takes_and_commits_nothing_and_holds_nothing() -> None:
    made = tracker(5, 6, 60, window=50)
    made.complete(5)
    assert made.closed is False
    made.close()
    assert made.closed is True
    assert not made.take(61)
    assert (made.in_flight, made.full, made.committable()) == (0, False, None)


def test_an_epoch_may_be_closed_twice() -> None:
    made = tracker(5)
    made.close()
    made.close()
    assert made.closed


# -- anything, in any order -------------------------------------------------------------------


class Group(RuleBasedStateMachine):
    """A log, a group's committed offset, and one worker after another that reads from there.

    `finished` is what really was done, in whichever epoch. Nothing is lost if all that lies below
    the committed offset was finished.
    """

    WINDOW = 8

    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []
        self.group = 0
        self.finished: set[int] = set()
        self.old: list[tuple[OffsetTracker, int]] = []
        self.begin(1)

    def begin(self, epoch: int) -> None:
        """A new assignment, from the group's offset."""
        self.now = OffsetTracker(PARTITION, epoch, self.WINDOW)
        self.position = self.group
        self.taken: list[int] = []
        self.open: list[int] = []

    @rule(gap=st.sampled_from((0, 0, 0, 1, 3, 20)))
    def append(self, gap: int) -> None:
        """A record more in the log, after so many offsets that hold none."""
        self.log.append((self.log[-1] + 1 if self.log else 0) + gap)

    @precondition(lambda self: not self.now.full)
    @rule(count=st.integers(1, 5))
    def read(self, count: int) -> None:
        """Take the next records."""
        for offset in [one for one in self.log if one >= self.position][:count]:
            assert self.now.take(offset)
            self.taken.append(offset)
            self.open.append(offset)
            self.position = offset + 1

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        """Records that were taken come once more; all of them are known."""
        back = data.draw(st.integers(0, len(self.taken) - 1))
        assert not any(self.now.take(offset) for offset in self.taken[back:])

    @precondition(lambda self: self.open)
    @rule(data=st.data(), again=st.booleans())
    def complete(self, data: st.DataObject, again: bool) -> None:
        """Any record under way finishes, and perhaps says so twice."""
        offset = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.finished.add(offset)
        for _ in range(2 if again else 1):
            self.now.complete(offset)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def complete_late(self, data: st.DataObject) -> None:
        """Work of an old epoch finishes."""
        tracker, offset = self.old.pop(data.draw(st.integers(0, len(self.old) - 1)))
        self.finished.add(offset)
        tracker.complete(offset)
        assert tracker.committable() is None

    @rule()
    def commit(self) -> None:
        """The worker commits in passing."""
        if (offset := self.now.committable()) is not None:
            assert offset > self.group
            self.now.committed(offset)
            self.group = offset

    @rule(orderly=st.booleans())
    def rebalance(self, orderly: bool) -> None:
        """The partition is revoked (with a last commit) or lost (without), and assigned anew."""
        if orderly:
            self.commit()
        self.now.close()
        self.old += [(self.now, offset) for offset in self.open]
        self.begin(self.now.epoch + 1)

    @invariant()
    def nothing_is_lost(self) -> None:
        """Never is a record passed that nobody has finished."""
        assert all(one in self.finished for one in self.log if one < self.group)

    @invariant()
    def the_commit_is_as_far_as_it_may_be(self) -> None:
        """Up to the lowest unfinished record, or past the last one."""
        if not self.taken:
            assert self.now.committable() is None
            return
        expected = min(self.open, default=self.taken[-1] + 1)
        assert self.now.position() == expected
        assert self.now.committable() in {None, expected}
        if self.now.committable() is None:
            assert expected in {self.group, self.taken[0]}

    @invariant()
    def what_is_under_way_is_known(self) -> None:
        """Counts and the window agree with a plain list."""
        assert self.now.in_flight == len(self.open)
        far = bool(self.open) and self.taken[-1] - min(self.open) >= self.WINDOW
        assert self.now.full is far


TestAnyHistory = pytest.mark.timeout(120)(Group.TestCase)
Group.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_what_is_reached_is_done_with_and_lies_behind_something_that_is_not() -> None:
    tracker = OffsetTracker(Partition("asked", 0), 1)
    assert tracker.reached() == -1
    for offset in (0, 3, 4, 7):
        tracker.take(offset)
    assert tracker.reached() == -1, "nothing is done with, offset 0 neither"
    tracker.complete(3)
    assert tracker.reached() == 3
    tracker.complete(4)
    assert tracker.reached() == 4
    tracker.complete(0)
    assert tracker.reached() == -1, "nothing below it is unfinished"

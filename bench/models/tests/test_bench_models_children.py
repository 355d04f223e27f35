"""A program of its own answers, says why it can't, and is gone afterwards."""

import os
from functools import partial

import psutil
import pytest
from bench.models.children import Answer, Child, ChildError


def adder(start: int) -> Answer:
    def answer(asked: object) -> object:
        if asked == "threads":
            return os.environ["OMP_NUM_THREADS"]
        if asked == "end":
            os._exit(3)
        return start + int(str(asked))

    return answer


def broken() -> Answer:
    raise FileNotFoundError("there are no weights")


def test_it_answers_one_question_after_another_with_the_threads_it_was_given() -> None:
    with Child(partial(adder, 40), threads=3) as child:
        assert [child.ask(1), child.ask(2), child.ask("threads")] == [41, 42, "3"]
        with pytest.raises(ChildError, match=r"ValueError: .*'what'"):
            child.ask("what")
        assert child.ask(5) == 45
        pid = child.pid
    assert not psutil.pid_exists(pid)


def test_what_can_not_be_made_is_told() -> None:
    with pytest.raises(ChildError, match="FileNotFoundError: there are no weights"):
        Child(broken, threads=1)


def test_a_program_that_ends_is_an_error_and_no_answer() -> None:
    with Child(partial(adder, 0), threads=1) as child, pytest.raises(ChildError, match="code 3"):
        child.ask("end")

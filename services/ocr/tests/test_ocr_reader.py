"""Reading with networks that only pretend: which way up, what is text, slices and failures."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from ocr.facing import Facing, along_lines
from ocr.geometry import Strip
from ocr.joining import Seen
from ocr.reader import Reader, ReaderPolicy
from ocr.search import SearchPolicy
from ocr.sheet import Pixels
from ocr.words import Recognised
from stage_part import whole
from stagekit import Photo
from streamkit import DeadlineExceeded, Reject, Retry

PAGE = Image.new("RGB", (400, 300), "white")
POLICY = ReaderPolicy(SearchPolicy(), 48, 1600, 0.7, 0.93)


class Pretended:
    """Finds given strips; reads a text where the picture is brighter on its left than on its right,
    and another, less surely, where it is not. Raises what it is told to, at a step."""

    name = "pretended"
    model_version = "pretended@1"

    def __init__(
        self, strips: Sequence[Strip], texts: Sequence[str] = (), sure: float = 0.97
    ) -> None:
        self._strips = strips
        self._texts = iter(texts)
        self._sure = sure
        self.read: list[tuple[int, ...]] = []
        self.raised: dict[str, BaseException] = {}

    def find(self, picture: Pixels) -> list[Seen]:
        if "find" in self.raised:
            raise self.raised["find"]
        return [Seen(strip, 0.9) for strip in self._strips]

    def recognise(self, lines: Sequence[Pixels]) -> list[Recognised]:
        if "recognise" in self.raised:
            raise self.raised["recognise"]
        self.read.append(tuple(line.shape[1] for line in lines))
        return [self._said(line) for line in lines]

    def _said(self, line: Pixels) -> Recognised:
        middle = line.shape[1] // 2
        right_way = line[:, :middle].mean() >= line[:, middle:].mean()
        text = next(self._texts, "some text") if right_way else "jumble"
        sure = self._sure if right_way else 0.5
        return Recognised(text, sure, [sure] * len(text), (), 0.0)


def read(
    networks: Pretended, image: Image.Image = PAGE, policy: ReaderPolicy = POLICY
) -> list[str]:
    return [line.text for line in whole(Reader(networks, policy).read(Photo.of(image)))]


def rows(count: int) -> list[Strip]:
    return [Strip(200, 20 + 25 * n, 300, 20, 0.0) for n in range(count)]


def darker_to_the(side: str) -> Image.Image:
    ramp = np.linspace(255, 0, 400) if side == "right" else np.linspace(0, 255, 400)
    return Image.fromarray(np.repeat(ramp[np.newaxis], 300, axis=0).astype(np.uint8)).convert("RGB")


def test_lines_are_told_in_reading_order_with_corners_as_fractions() -> None:
    networks = Pretended(rows(3), ["one", "two words", "three"])
    lines = whole(Reader(networks, POLICY).read(Photo.of(PAGE)))
    assert [line.text for line in lines] == ["one", "two words", "three"]
    assert lines[0].polygon[0] == pytest.approx((50 / 400, 10 / 300))
    assert [word.text for word in lines[1].words] == ["two", "words"]
    assert lines[1].words[0].polygon[1][0] < lines[1].words[1].polygon[0][0]


def test_a_page_on_its_head_is_read_the_other_way_and_from_its_end() -> None:
    networks = Pretended(rows(6), [f"line {n}" for n in range(6)])
    lines = whole(Reader(networks, POLICY).read(Photo.of(darker_to_the("left"))))
    tops = [line.polygon[0][1] for line in lines]
    assert tops == sorted(tops, reverse=True)
    assert all(line.polygon[0][0] > line.polygon[1][0] for line in lines)


def test_once_it_is_clear_how_a_page_lies_its_lines_are_read_once() -> None:
    upright, turned = Pretended(rows(8)), Pretended(rows(8))
    read(upright, darker_to_the("right"))
    read(turned, darker_to_the("left"))
    assert len(upright.read) == 8
    assert len(turned.read) == 9


def test_an_unsure_line_is_read_both_ways_and_the_surer_one_is_taken() -> None:
    networks = Pretended(rows(1), ["faint"], sure=0.8)
    assert read(networks, darker_to_the("right")) == ["faint"]
    assert len(networks.read) == 2


def test_a_strip_in_which_nothing_stands_is_not_turned() -> None:
    networks = Pretended(rows(1), [""])
    assert read(networks) == []
    assert len(networks.read) == 1


@pytest.mark.parametrize(
    ("text", "sure", "kept"),
    [
        ("plain text", 0.71, True),
        ("plain text", 0.69, False),
        ("--.--", 0.99, False),
        ("8", 0.94, False),
        ("8", 0.96, True),
        ("Rx2", 0.84, False),
        ("漢字 漢字", 0.9, True),
    ],
)
def test_what_counts_as_text(text: str, sure: float, kept: bool) -> None:
    assert read(Pretended(rows(1), [text, text], sure)) == ([text] if kept else [])


def test_a_lone_character_as_large_as_the_photo_is_none() -> None:
    plate = Strip(200, 150, 220, 200, 0.0)
    assert read(Pretended([plate], ["0"], sure=0.99)) == []


def test_lines_are_read_together_where_the_engine_can() -> None:
    networks = Pretended(rows(5))
    policy = ReaderPolicy(SearchPolicy(), 48, 1600, 0.7, 0.93, together=4)
    slices = Reader(networks, policy).read(Photo.of(PAGE))
    assert len(list(slices)) == 3
    assert [len(some) for some in networks.read] == [4, 1]


def test_a_long_line_is_read_in_pieces_of_bounded_width() -> None:
    networks = Pretended([Strip(200, 150, 380, 4, 0.0)], ["one", "two", "three", "four", "five"])
    policy = ReaderPolicy(SearchPolicy(least_height=1), 48, 1000, 0.7, 0.93)
    (text,) = read(networks, policy=policy)
    assert len(networks.read) > 3
    assert all(width <= 1000 for some in networks.read for width in some)
    assert text.replace(" ", "").startswith("onetwothree")


def test_no_more_lines_are_read_than_allowed_and_the_largest_are() -> None:
    strips = [*rows(5), Strip(200, 250, 390, 40, 0.0)]
    networks = Pretended(strips)
    policy = ReaderPolicy(SearchPolicy(), 48, 1600, 0.7, 0.93, most_lines=2)
    lines = whole(Reader(networks, policy).read(Photo.of(PAGE)))
    assert len(lines) == 2
    assert lines[1].polygon[2][1] == pytest.approx(270 / 300)


@pytest.mark.parametrize("step", ["find", "recognise"])
@pytest.mark.parametrize(
    ("raised", "instruction", "message"),
    [
        (MemoryError(), Retry, "too little memory"),
        (RuntimeError("BFCArena: Failed to allocate memory for a buffer"), Retry, "too little"),
        (RuntimeError("CUDA out of memory."), Retry, "too little memory"),
        (RuntimeError("Non-zero status code while running Conv node"), Reject, "engine_failed"),
        (DeadlineExceeded("It took longer than 60 s."), DeadlineExceeded, "longer than 60 s"),
    ],
)
def test_what_goes_wrong_tells_the_worker_what_to_do(
    step: str, raised: Exception, instruction: type[Exception], message: str
) -> None:
    networks = Pretended(rows(1))
    networks.raised[step] = raised
    with pytest.raises(instruction, match=message):
        read(networks)


def test_what_fetching_the_original_says_is_passed_on() -> None:
    def away() -> Image.Image:
        raise Retry("The store does not answer.")

    photo = Photo(PAGE, (4000, 3000), away)
    with pytest.raises(Retry, match="store does not answer"):
        whole(Reader(Pretended([Strip(200, 150, 100, 8, 0.0)]), POLICY).read(photo))


@pytest.mark.parametrize(("size", "turned"), [((300, 20), 0), ((20, 300), 1)])
def test_a_lone_strip_runs_along_its_longer_side(size: tuple[int, int], turned: int) -> None:
    (line,) = along_lines([Seen(Strip(0, 0, *size, 0.0), 0.9)])
    assert line.strip == Strip(0, 0, *size, 0.0).turned(turned)


def test_a_lone_digit_stands_as_the_lines_around_it_do() -> None:
    digit = Seen(Strip(0, 0, 12, 30, 0.0), 0.9)
    line = Seen(Strip(0, 60, 300, 30, 0.0), 0.9)
    assert along_lines([digit, line]) == [digit, line]
    lying = [Seen(Strip(0, 0, 30, 12, 0.0), 0.9), Seen(Strip(60, 0, 30, 300, 0.0), 0.9)]
    assert [one.strip.length for one in along_lines(lying)] == [12, 300]


def test_one_huge_block_does_not_turn_a_page_of_lines() -> None:
    block = Seen(Strip(500, 500, 300, 1000, 0.0), 0.6)
    entries = [Seen(Strip(100, 30 * n, 60, 22, 0.0), 0.9) for n in range(8)]
    assert along_lines([block, *entries])[1:] == entries


def test_a_page_is_known_once_three_lines_agree() -> None:
    facing = Facing(0.93)
    assert (facing.likely, facing.sure) == (0, 0.93)
    for _ in range(3):
        facing.learn(2, 0.99)
    facing.learn(0, 0.6)
    assert (facing.likely, facing.sure) == (2, 0.8)
    facing.learn(0, 0.99)
    assert facing.sure == 0.93

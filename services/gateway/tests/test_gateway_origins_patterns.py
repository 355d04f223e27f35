"""Which files patterns take."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.origins.patterns import EVERYTHING, PatternError, Patterns, Rule, parse, rule_of


def taking(*include: str) -> Rule:
    return rule_of({"include": include})


@pytest.mark.parametrize(
    ("pattern", "taken", "left"),
    [
        ("*.jpg", ["a.jpg", "x/y/a.JPG", "a.jpg/b"], ["a.jpeg", "jpg"]),
        ("raw", ["raw", "x/raw", "raw/a", "x/raw/y/a"], ["raws", "x/raw.jpg"]),
        ("raw/", ["raw/a", "x/raw/a"], ["raw", "x/raw"]),
        ("/raw", ["raw", "raw/a"], ["x/raw"]),
        ("/raw/", ["raw/a"], ["raw", "x/raw/a"]),
        ("2024/*.jpg", ["2024/a.jpg"], ["2024/x/a.jpg", "x/2024/a.jpg"]),
        ("2024/**/*.jpg", ["2024/a.jpg", "2024/x/y/a.jpg"], ["a.jpg", "x/2024/a.jpg"]),
        ("**/raw/**", ["raw/a", "x/raw/a", "x/raw/y/a"], ["raw", "x/raw"]),
        ("**/raw", ["raw", "x/raw", "raw/a"], ["raws"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a"]),
        ("**", ["a", "a/b"], []),
        ("*", ["a", "a/b"], []),
        ("a?c", ["abc"], ["ac", "abbc", "a/c"]),
        ("[ab].jpg", ["a.jpg", "B.jpg"], ["c.jpg"]),
        ("[!ab].jpg", ["c.jpg"], ["a.jpg"]),
        ("[*].jpg", ["*.jpg"], ["a.jpg"]),
        (r"a\b", [r"a\b"], ["ab"]),
        ("été.jpg", ["e\u0301te\u0301.jpg", "ÉTÉ.jpg"], ["ete.jpg"]),
        ("a/*/c", ["a/b/c", "a/b/c/d"], ["a/c", "a/b/b/c"]),
        ("**/a/**/b", ["a/b", "x/a/y/z/b", "a/a/b"], ["b", "a"]),
    ],
)
def test_a_pattern_takes_what_it_says(pattern: str, taken: list[str], left: list[str]) -> None:
    rule = taking(pattern)
    assert [path for path in taken + left if rule.takes(path)] == taken


def test_exclude_wins_over_include() -> None:
    rule = rule_of({"include": ["*.jpg"], "exclude": ["raw/", "b.*"]})
    assert rule.takes("a.jpg")
    assert not rule.takes("raw/a.jpg")
    assert not rule.takes("b.jpg")


@pytest.mark.parametrize("path", [".a", ".a/b", "a/.b", "a/.b/c"])
def test_hidden_names_are_taken_only_if_they_are_wanted(path: str) -> None:
    assert not EVERYTHING.takes(path)
    assert not EVERYTHING.enters(path)
    assert rule_of({"hidden": True}).takes(path)


@pytest.mark.parametrize(
    ("exclude", "entered"),
    [
        ("raw", False),
        ("raw/", False),
        ("raw/**", False),
        ("**", False),
        ("*", False),
        ("raw/*", True),  # all in it is excluded, but one has to look
        ("raw/*.jpg", True),
        ("*.jpg", True),
    ],
)
def test_a_folder_is_entered_unless_all_of_it_is_excluded(exclude: str, *, entered: bool) -> None:
    assert rule_of({"exclude": [exclude]}).enters("raw") is entered


names = st.text(st.sampled_from("aAb.*?[]!\\é "), min_size=1, max_size=6)
parts = st.one_of(names, st.sampled_from(["*", "**", "a*", "?"]))
globs = st.lists(parts, min_size=1, max_size=4).map("/".join)
some_paths = st.lists(names.filter(lambda name: not name.startswith(".")), min_size=1).map("/".join)


@given(globs, some_paths, names)
def test_nothing_below_a_folder_that_is_not_entered_would_be_taken(
    glob: str, folder: str, name: str
) -> None:
    try:
        rule = rule_of({"exclude": [glob], "hidden": True})
    except PatternError:
        return
    if not rule.enters(folder):
        assert not rule.takes(f"{folder}/{name}")


@given(some_paths)
def test_a_path_is_taken_by_a_pattern_that_is_its_own_text(path: str) -> None:
    literal = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)
    if not {"", ".", ".."} & set(path.split("/")):
        assert taking(f"/{literal}").takes(path)


def test_no_pattern_takes_long_whatever_the_name() -> None:
    rule = taking("*a" * 100 + "b", "**/a/" * 50 + "b")
    began = time.perf_counter()
    assert not rule.takes("a" * 255)
    assert not rule.takes("/".join(["a"] * 500))
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "1 to 300 printable"),
        ("/", "not all slashes"),
        ("a" * 301, "1 to 300"),
        ("a\nb", "printable"),
        ("!a", "use the other list"),
        ("./a", "no empty"),
        ("a/../b", "no empty"),
        ("a//b", "no empty"),
    ],
)
def test_a_pattern_that_says_nothing_is_refused_with_the_reason(pattern: str, says: str) -> None:
    with pytest.raises(PatternError, match=says):
        parse(pattern)
    with pytest.raises(ValidationError, match=says):
        Patterns(exclude=(pattern,))


def test_there_are_not_more_patterns_than_can_be_matched() -> None:
    Patterns(include=("a",) * 100)
    with pytest.raises(ValidationError):
        Patterns(include=("a",) * 101)


def test_patterns_come_back_from_an_imports_location() -> None:
    patterns = Patterns(include=("*.jpg",), exclude=("raw/",), hidden=True)
    assert patterns.location() == {"include": ["*.jpg"], "exclude": ["raw/"], "hidden": True}
    assert rule_of(patterns.location()).takes(".a/b.jpg")

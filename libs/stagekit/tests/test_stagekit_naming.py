"""What settings add to the version of an engine."""

from pydantic import Field

from stagekit import StageSettings, changed, with_options


class Settings(StageSettings):
    demo_labels: int = 5
    demo_prompts: tuple[str, ...] = ("a",)
    demo_threads: int = Field(default_factory=lambda: 2)


NAMES = ("demo_labels", "demo_prompts", "demo_threads")


def test_only_what_is_not_the_default_is_changed() -> None:
    assert changed(Settings(demo_labels=5), NAMES) == {}
    settings = Settings(demo_labels=3, demo_prompts=("b",), demo_threads=4)
    assert changed(settings, NAMES[:2]) == {"demo_labels": 3, "demo_prompts": ("b",)}
    assert changed(settings, NAMES[2:]) == {"demo_threads": 4}


def test_a_version_without_options_stays_as_it_is() -> None:
    assert with_options("lite0@0123456789ab", {}) == "lite0@0123456789ab"


def test_equal_options_are_the_same_version_and_other_ones_another_today_and_tomorrow() -> None:
    one = with_options("lite0@1", {"b": ("é",), "a": 0.5})
    assert one == with_options("lite0@1", {"a": 0.5, "b": ["é"]}) == "lite0@1+options@ffbd6710"
    assert one != with_options("lite0@1", {"a": 0.5, "b": ["e"]})
    assert one != with_options("lite0@1", {"a": 0.5, "c": ["é"]})

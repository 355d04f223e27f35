"""Values of a model's options, by the JSON Schema that its services tell."""

import json
from typing import Any

import pytest

from gateway.catalog.model_options import not_among, problem_of

WHOLE = {"type": "integer", "minimum": 1, "maximum": 9}
SHARE = {"type": "number", "minimum": 0, "maximum": 1, "description": "of the photos"}
PATH = {"type": "string", "pattern": r"^\./"}
LIST = {
    "type": "array",
    "items": {"type": "string", "pattern": r"\{\}"},
    "minItems": 1,
    "maxItems": 2,
}
ONE_OF = {"type": "string", "enum": ["fast", "exact"]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (WHOLE, "9"),
        (SHARE, "0.25"),
        (PATH, "./boxes"),
        (LIST, '["a {}", "{}"]'),
        (ONE_OF, "fast"),
        ({"type": "boolean"}, "true"),
        ({"type": "object"}, '{"a": 1}'),
    ],
)
def test_what_services_take_is_taken(schema: Any, value: str) -> None:
    assert problem_of(json.dumps(schema), value) is None


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        (WHOLE, "10", "Input should be less than or equal to 9"),
        (WHOLE, "0", "Input should be greater than or equal to 1"),
        (WHOLE, "many", "Input should be a valid integer"),
        (SHARE, "30%", "unable to parse string as a number (of the photos)"),
        (PATH, "/etc", "String should match pattern"),
        (LIST, "a {}", "'a {}' has to be JSON"),
        (LIST, '["{}", "b"]', "1: String should match pattern"),
        (LIST, "[]", "List should have at least 1 item"),
        (LIST, '["{}", "{}", "{}"]', "List should have at most 2 items"),
        (ONE_OF, "slow", "Input should be 'fast' or 'exact'"),
        ({"type": "object"}, "[]", "Input should be a valid dictionary"),
    ],
)
def test_what_services_would_refuse_is_told(schema: Any, value: str, said: str) -> None:
    assert said in (problem_of(json.dumps(schema), value) or "")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("./", None),
        ("./labels.txt", None),
        ("./siglip", None),
        ("./siglip/model.safetensors", None),
        ("google/siglip", None),
        ("./sig", "no file of this version"),
        ("./nothere", "no file of this version"),
        ("./../labels.txt", "outside"),
    ],
)
def test_a_path_is_one_of_the_version_s_files(value: str, said: str | None) -> None:
    problem = not_among(value, ["labels.txt", "siglip/model.safetensors"])
    assert problem is None if said is None else said in (problem or "")


def test_without_files_no_path_is_one() -> None:
    assert not_among("./", []) is not None


@pytest.mark.parametrize(
    "schema",
    [
        *("", "no json", "[]", "{}", '{"type": "new"}', '{"type": ["string", "null"]}'),
        *('{"anyOf": []}', '{"type": "string", "pattern": "("}', '{"type": "array", "items": 3}'),
    ],
)
def test_what_is_not_understood_is_left_to_the_services(schema: str) -> None:
    assert problem_of(schema, "anything") is None

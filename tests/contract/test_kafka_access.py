"""Every client of Kafka is given what brokers want to know, not only where they are."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
ACCESS: Final = {"kafka_options", "kafka_tls"}


def forgetful(source: str) -> Iterator[str]:
    """Calls that are given the `kafka` of settings and not what belongs to it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            given = [_called(one) for one in (*node.args, *(k.value for k in node.keywords))]
            names = {
                ast.unparse(one).rpartition("settings.")[2] for one in given if _of_settings(one)
            }
            if "kafka" in names and not ACCESS & names:
                yield ast.unparse(node)


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _of_settings(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("settings")


def test_no_client_is_made_without_the_options_of_the_settings() -> None:
    found = {
        str(file.relative_to(ROOT)): calls
        for file in sorted((*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")))
        if "settings.kafka" in (text := file.read_text(encoding="utf-8"))
        and (calls := list(forgetful(text)))
    }
    assert found == {}


def test_one_that_forgets_them_would_be_found() -> None:
    assert list(forgetful("log = KafkaLog(settings.kafka, prefix='')"))
    assert not list(forgetful("log = KafkaLog(settings.kafka, options=settings.kafka_options)"))

"""`docs/reference/rest.md`: the gateway's routes, out of its OpenAPI description."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, cast

from docs.tools.markdown import cell, code, page, table

from gateway.api.application import application
from gateway.api.door import Door
from gateway.settings import Settings

_LEAST_ERROR: Final = "400"

_HEAD: Final = """\
# REST

What the api door answers. A running door describes itself as OpenAPI at `GET /v1/openapi.json`,
from which clients can be generated; this page is made of the same. Errors are problem details
(RFC 9457) with a stable `code`. [Keys and roles](../how-to/keys.md) say who may ask for what.

This page is generated: `python -m docs.tools.generate`.
"""

Described = Mapping[str, Any]
Route = tuple[str, str, Described]


def openapi() -> dict[str, Any]:
    """The description, without a catalog or a broker."""
    nothing = dict.fromkeys(("quotas", "shares", "keeper", "feed"))
    door = type("Nothing", (), {"settings": Settings(_cli_parse_args=[]), **nothing})
    return application(cast(Door, door)).openapi()


def rest_page() -> str:
    """The page, as it should be."""
    described = openapi()
    groups = groupby(sorted(_routes(described), key=_resource), key=_resource)
    return page(
        _HEAD,
        *(part for name, routes in groups for part in _group(name, list(routes))),
        "## Bodies",
        *(_model(name, one) for name, one in described["components"]["schemas"].items()),
    )


def _resource(route: Route) -> str:
    """What a route is about: the first word of its path."""
    words = route[1].strip("/").split("/")
    return words[1] if words[0] == "v1" and len(words) > 1 else "health"


def _group(name: str, routes: Sequence[Route]) -> Iterator[str]:
    yield f"## {name}"
    yield _overview(routes)
    for route in routes:
        yield from _route(*route)


def _routes(described: Described) -> Iterator[Route]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _overview(routes: Iterable[Route]) -> str:
    return table(
        ("route", "role", ""),
        (
            (
                f"[{code(f'{method} {path}')}](#{_anchor(method, path)})",
                operation.get("x-role", "everybody"),
                cell(operation.get("summary", "")),
            )
            for method, path, operation in routes
        ),
    )


def _anchor(method: str, path: str) -> str:
    """As the site names the heading of a route."""
    kept = "".join(c for c in f"{method} {path}".lower() if c.isalnum() or c in " -_")
    return "-".join(kept.split())


def _route(method: str, path: str, operation: Described) -> Iterator[str]:
    yield f"### {method} {path}"
    yield operation.get("description") or operation.get("summary", "")
    yield f"Role: {operation.get('x-role', 'everybody')}."
    yield table(
        ("parameter", "in", "type", "meaning"),
        (
            (
                code(one["name"]),
                one["in"] + (", required" if one.get("required") else ""),
                type_name(one.get("schema", {})),
                cell(one.get("description", "")),
            )
            for one in operation.get("parameters", ())
        ),
    )
    yield _body(operation.get("requestBody"))
    answers = operation["responses"]
    yield table(
        ("status", "body", ""),
        (
            (status, _content(one.get("content", {})), cell(_told(one)))
            for status, one in answers.items()
            if status < _LEAST_ERROR
        ),
    )
    errors = sorted(status for status in answers if status >= _LEAST_ERROR)
    yield f"Errors: {', '.join(errors)}." if errors else ""


def _told(answer: Described) -> str:
    """Its description, unless it is what FastAPI says of every one."""
    text = str(answer.get("description", ""))
    return "" if text == "Successful Response" else text


def _body(body: Described | None) -> str:
    if body is None:
        return ""
    return f"Body: {_content(body.get('content', {}))}."


def _content(content: Described) -> str:
    """Bodies by their media types; JSON is not named."""
    kinds = (
        type_name(one.get("schema", {})) + ("" if kind.endswith("json") else f" ({code(kind)})")
        for kind, one in content.items()
    )
    return " or ".join(kinds)


def type_name(schema: Described) -> str:
    """A JSON Schema in a few words, models as links."""
    if "$ref" in schema:
        name = title(schema["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.lower().replace(' ', '-')})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(type_name(one) for one in schema[key]))
    if "enum" in schema:
        return ", ".join(code(one) for one in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    if schema.get("type") == "array":
        return f"list of {type_name(schema.get('items', {}))}"
    kind = schema.get("format") or schema.get("type", "anything")
    return str(kind)


def title(name: str) -> str:
    """A model's name; where two have the same, FastAPI puts their modules before them."""
    *modules, own = name.split("__")
    return f"{own} of {modules[-1]}" if modules else own


def _model(name: str, schema: Described) -> str:
    required = set(schema.get("required", ()))
    rows = (
        (
            code(field) + ("" if field in required else " (optional)"),
            type_name(one),
            cell(one.get("description", "")),
        )
        for field, one in schema.get("properties", {}).items()
    )
    return page(
        f"### {title(name)}",
        schema.get("description", ""),
        table(("field", "type", "meaning"), rows) or type_name(schema),
    )

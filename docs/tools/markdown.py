"""Tables and cells of Markdown."""

from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """Text inside a table: in one line, its bars escaped."""
    return " ".join(str(text).split()).replace("|", "\\|")


def code(text: object) -> str:
    """The same as code; nothing for nothing."""
    said = cell(text)
    return f"`{said}`" if said else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, or nothing if it has no rows. Cells are Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines]) + "\n"


def page(*parts: str) -> str:
    """A page of these parts, an empty line between them; empty parts are left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"

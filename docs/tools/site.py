"""The site of the documentation: `python -m docs.tools.site --output FOLDER [--serve]`.

Pages are the Markdown files of `docs/` and every README beside the code; links between them are
relative paths of the repository, so that they also work where the repository is read. The site
generator wants all pages in one folder, so they are first copied into one, each link to the place
where its target lies there. A file that is no page (an example, topics.yaml) becomes one that shows
it. A link that leads nowhere, a page that the navigation lacks, or a warning of the generator fails
the build.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]

_LINK: Final = re.compile(r"(?<!\\)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
_FENCE: Final = re.compile(r"^(\s*)(`{3,}|~{3,})")
_PICTURES: Final = (".svg", ".png")
_COPIED: Final = (*_PICTURES, ".css", ".yaml", ".json")
"""Of `docs/`; elsewhere only pictures are copied, other files are shown as pages."""
_LANGUAGES: Final = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".sh": "sh", ".xml": "xml"}
_FOLDERS: Final = ("services", "libs", "bench", "schemas", "examples", "deploy")
_EXTRA: Final = ("CHANGELOG.md",)
_MARKER: Final = ".darkroom-docs"
"""In a folder that this program has made, and so may make anew."""

Nav = list[Any]


class DeadLinkError(Exception):
    """Links that lead nowhere, a line each."""


class LostPageError(Exception):
    """Pages that the navigation does not have, a line each."""


class OccupiedError(Exception):
    """Where the site shall be something else is."""

    def __init__(self, place: Path) -> None:
        super().__init__(
            f"{place} is not empty and no site that this program built: it would be deleted. "
            "Choose another --output, or remove it yourself."
        )


def pages(root: Path) -> Iterator[Path]:
    """Every Markdown file that is a page, as paths from the root."""
    for file in sorted((root / "docs").rglob("*.md")):
        yield file.relative_to(root)
    for folder in _FOLDERS:
        for file in sorted((root / folder).rglob("*.md")):
            found = file.relative_to(root)
            if not any(part.startswith(".") or part == "tests" for part in found.parts):
                yield found
    yield from (Path(name) for name in _EXTRA if (root / name).is_file())


def place(page: Path) -> Path:
    """Where a file of the repository lies in the site's sources."""
    inner = page.relative_to("docs") if page.parts[0] == "docs" else page
    if inner.name == "README.md":
        return inner.with_name("index.md")
    copied = _PICTURES if inner is page else _COPIED
    return inner if inner.suffix in (".md", *copied) else Path(f"{inner}.md")


class Staging:
    """Copies pages into `folder`, and the files that they link to."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._folder = folder
        self._dead: list[str] = []
        self._shown: set[Path] = set()

    def run(self) -> None:
        """Copy everything. Raises DeadLinkError."""
        for page in pages(self._root):
            text = (self._root / page).read_text(encoding="utf-8")
            self._write(place(page), self._moved(page, text))
        for file in (self._root / "docs").rglob("*"):
            if file.suffix in _COPIED:
                self._copy(file.relative_to(self._root))
        if self._dead:
            raise DeadLinkError("\n".join(self._dead))

    def _write(self, to: Path, text: str) -> None:
        file = self._folder / to
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def _copy(self, file: Path) -> None:
        to = self._folder / place(file)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._root / file, to)

    def _moved(self, page: Path, text: str) -> str:
        """The text with its links to where the targets lie in the site; code is left alone."""
        lines, fence = [], ""
        for line in text.splitlines(keepends=True):
            mark = _FENCE.match(line)
            if mark and not fence:
                fence = mark[2]
            elif mark and mark[2].startswith(fence):
                fence = ""
            elif not fence:
                lines.append(_LINK.sub(partial(self._link, page), line))
                continue
            lines.append(line)
        return "".join(lines)

    def _link(self, page: Path, found: re.Match[str]) -> str:
        label, target, anchor = found[1], found[2], found[3] or ""
        if not target or "://" in target or target.startswith("mailto:"):
            return found[0]
        goal = Path(os.path.normpath(self._root / page.parent / target))
        if goal.is_dir():
            goal = next((g for g in (goal / "README.md", goal / "index.md") if g.is_file()), goal)
        if goal.is_dir() and goal.is_relative_to(self._root):
            return label  # a folder is no page
        if not goal.is_file() or not goal.is_relative_to(self._root):
            self._dead.append(f"{page}: {target}")
            return found[0]
        inside = goal.relative_to(self._root)
        if goal == self._root / "README.md":
            inside = Path("docs/index.md")
        elif goal.suffix != ".md":
            self._show(inside)
        start = PurePosixPath(place(page)).parent
        return f"[{label}]({os.path.relpath(place(inside), start)}{anchor})"

    def _show(self, file: Path) -> None:
        """Make a page of a file that is none."""
        if file in self._shown or file.parts[0] == "docs":
            return
        self._shown.add(file)
        if file.suffix in _PICTURES:
            self._copy(file)
            return
        text = (self._root / file).read_text(encoding="utf-8").rstrip("\n")
        fence = "`" * 4
        language = _LANGUAGES.get(file.suffix, "text")
        self._write(place(file), f"# {file.name}\n\n{fence}{language}\n{text}\n{fence}\n")


def navigation(entries: Nav, known: Sequence[Path]) -> Nav:
    """The navigation with its patterns written out; a page is where it is named first.

    Raises LostPageError for pages that nothing names.
    """
    named = {str(page) for page in known if str(page) in _flat(entries)}
    left = [str(page) for page in sorted(known) if str(page) not in named]
    found = _written_out(entries, left)
    if left:
        raise LostPageError("\n".join(left))
    return found


def _flat(entries: Nav) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
            continue
        for inner in entry.values():
            yield from (inner,) if isinstance(inner, str) else _flat(inner)


def _written_out(entries: Nav, left: list[str]) -> Nav:
    """Takes what a pattern matches out of `left`."""
    found: Nav = []
    for entry in entries:
        if isinstance(entry, str):
            found += _matched(entry, left)
            continue
        for title, inner in entry.items():
            if isinstance(inner, list):
                found.append({title: _written_out(inner, left)})
            elif "*" in inner:
                found.append({title: _matched(inner, left)})
            else:
                found.append({title: inner})
    return found


def _matched(entry: str, left: list[str]) -> list[str]:
    if "*" not in entry:
        return [entry]
    pattern = re.compile(_regex(entry))
    matched = [page for page in left if pattern.fullmatch(page)]
    left[:] = [page for page in left if page not in matched]
    return sorted(matched, key=lambda page: (not page.endswith("index.md"), page))


def _regex(glob: str) -> str:
    """`*` is within a folder, `**/` any number of folders."""
    words = re.split(r"(\*\*/|\*)", glob)
    meant = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return "".join(meant.get(word, re.escape(word)) for word in words)


def stage(folder: Path) -> None:
    """Put pages and settings into a folder, as the generator wants them.

    Raises DeadLinkError, LostPageError.
    """
    Staging(ROOT, folder / "pages").run()
    settings = yaml.safe_load((ROOT / "docs" / "site.yml").read_text(encoding="utf-8"))
    settings["nav"] = navigation(settings["nav"], [place(page) for page in pages(ROOT)])
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def build(output: Path) -> int:
    """Build the site into `output`, in place of one from before; the generator's exit code.

    Raises DeadLinkError, LostPageError, OccupiedError.
    """
    _check_free(output)
    program = Path(sys.executable).with_name("zensical")
    with tempfile.TemporaryDirectory(prefix="darkroom-docs-") as work:
        stage(Path(work))
        command = (str(program), "build", "--strict", "--clean")
        code = subprocess.run(command, cwd=work, check=False).returncode
        if code == 0:
            _replace(output, Path(work) / "site")
        return code


def _check_free(output: Path) -> None:
    """Raises OccupiedError unless what is there may go."""
    if output.is_dir():
        if any(output.iterdir()) and not (output / _MARKER).is_file():
            raise OccupiedError(output)
    elif output.exists() or output.is_symlink():
        raise OccupiedError(output)


def _replace(output: Path, made: Path) -> None:
    """Put what was made where another may be. Raises OccupiedError."""
    _check_free(output)
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    (output / _MARKER).touch()
    shutil.copytree(made, output, dirs_exist_ok=True)


def serve(folder: Path, port: int) -> None:
    """Serve a built site on the loopback until Ctrl-C."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server, suppress(KeyboardInterrupt):
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


def main() -> int:
    """Build, and serve if that is asked for; 1 if the build fails."""
    parser = argparse.ArgumentParser(prog="docs.tools.site")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args()
    try:
        code = build(chosen.output)
    except DeadLinkError as error:
        sys.stderr.write(f"Links that lead nowhere:\n{error}\n")
        return 1
    except LostPageError as error:
        sys.stderr.write(f"Pages that docs/site.yml does not name:\n{error}\n")
        return 1
    except OccupiedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if code == 0 and chosen.serve:
        serve(chosen.output, chosen.port)
    return code


if __name__ == "__main__":
    sys.exit(main())

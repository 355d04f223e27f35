"""Write the Dockerfile of each service: one recipe, of which a service says little.

    python deploy/images/generate.py [--check]

`--check` writes nothing and exits with 1 if a file is not what it would write. Everything else is
read from the packages: which of ours a service needs, and whether it can do with torch and without.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
USER: Final = 10001
HEALTH_PORT: Final = 9100
API_PORT: Final = 8080
STATE: Final = "/var/lib/darkroom"

_NAME: Final = re.compile(r"darkroom-[a-z]+")


@dataclass(frozen=True, slots=True)
class Image:
    """What is particular of an image. `module` is run, with `arguments` if nobody gives others;
    `ports` are those at one of which it says whether it is ready, none if it does not stay."""

    folder: str
    module: str
    arguments: tuple[str, ...] = ()
    ports: tuple[int, ...] = (HEALTH_PORT,)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the service, and of its requirements."""
        return Path(self.folder).name


IMAGES: Final = (
    Image(
        "services/gateway",
        "gateway",
        ("api",),
        (API_PORT, HEALTH_PORT),
        {"DARKROOM_API_PORT": str(API_PORT), "DARKROOM_SPOOL": f"{STATE}/spool"},
    ),
    *(
        Image(f"services/{name}", name, settings={"DARKROOM_MODELS_CACHE": f"{STATE}/models"})
        for name in ("detector", "ocr", "embedder")
    ),
    *(Image(f"services/{name}", name) for name in ("intake", "aggregator", "trainer")),
    Image("libs/cli", "darkroom_cli", ("--help",), ()),
)


def package_of(folder: str) -> Mapping[str, Any]:
    """What a folder's pyproject.toml says of its package."""
    text = (ROOT / folder / "pyproject.toml").read_text(encoding="utf-8")
    project: Mapping[str, Any] = tomllib.loads(text)["project"]
    return project


def folders() -> Mapping[str, str]:
    """Our packages: name → folder."""
    places = [*ROOT.glob("libs/*"), *ROOT.glob("services/*"), ROOT / "schemas"]
    found = [str(place.relative_to(ROOT)) for place in sorted(places)]
    return {
        package_of(folder)["name"]: folder
        for folder in found
        if (ROOT / folder / "pyproject.toml").is_file()
    }


def ours(image: Image) -> list[str]:
    """Folders of the packages of ours that an image holds."""
    known = folders()

    def needed(folder: str) -> Iterator[str]:
        yield folder
        for dependency in package_of(folder)["dependencies"]:
            if found := _NAME.match(dependency):
                yield from needed(known[found[0]])

    return sorted(set(needed(image.folder)))


def can_torch(image: Image) -> bool:
    """Whether there are variants of the image with torch."""
    return "torch" in package_of(image.folder).get("optional-dependencies", {})


def recipe(image: Image) -> str:
    """The Dockerfile."""
    return "\n\n".join((_head(image), _build(image), _run(image))) + "\n"


def _head(image: Image) -> str:
    variants = ""
    if can_torch(image):
        variants = """
# VARIANT: cpu (no torch), cuda, or torch-cpu, whose requirements have to be compiled first, and
# whose wheels are looked for at TORCH_INDEX as well (docs/deploy/images.md)."""
    return f"""\
# Made by deploy/images/generate.py; change that instead.
# docker build --file {image.folder}/Dockerfile --tag darkroom-{image.name} .{variants}
ARG PYTHON=python:3.11.14-slim-trixie"""


def _build(image: Image) -> str:
    variant, torch_index = "cpu", ""
    arguments = ""
    if can_torch(image):
        variant = "${VARIANT}"
        torch_index = (
            ' \\\n        ${TORCH_INDEX:+--index "$TORCH_INDEX" --index-strategy unsafe-best-match}'
        )
        arguments = "\nARG VARIANT=cpu\nARG TORCH_INDEX="
    packages = ours(image)
    copies = "\n".join(f"COPY {folder} {folder}" for folder in packages)
    return f"""\
FROM ${{PYTHON}} AS build{arguments}
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements/bootstrap.txt requirements/tools.txt requirements/
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements/bootstrap.txt
RUN uv venv --quiet /opt/tools && \\
    uv pip sync --quiet --python /opt/tools --require-hashes requirements/tools.txt
COPY requirements/{variant}/{image.name}.txt requirements/image.txt
RUN uv venv --quiet /opt/darkroom && \\
    uv pip sync --quiet --python /opt/darkroom --require-hashes{torch_index} \\
        requirements/image.txt
COPY deploy/images/wheels.py deploy/images/healthy.py deploy/images/
{copies}
RUN /opt/tools/bin/python deploy/images/wheels.py /build/wheels \\
        {" ".join(packages)} && \\
    uv pip install --quiet --python /opt/darkroom --no-deps /build/wheels/*.whl
RUN cp deploy/images/healthy.py /opt/darkroom/healthy.py && \\
    /opt/tools/bin/cyclonedx-py environment --output-reproducible --no-validate \\
        --output-file /opt/darkroom/sbom.cdx.json /opt/darkroom/bin/python"""


def _run(image: Image) -> str:
    title = f"darkroom-{image.name}"
    words = package_of(image.folder)["description"]
    version = package_of(image.folder)["version"]
    settings = {
        "PATH": "/opt/darkroom/bin:$PATH",
        "HOME": "/tmp",  # noqa: S108 - a tmpfs of the container's own
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DARKROOM_CACHE": f"{STATE}/cache",
        **({"DARKROOM_HEALTH_HOST": "0.0.0.0"} if image.ports else {}),  # noqa: S104
        **({"DARKROOM_HEALTH_PORT": str(HEALTH_PORT)} if image.ports else {}),
        **image.settings,
    }
    variables = " \\\n    ".join(f"{name}={value}" for name, value in settings.items())
    made = [f"{STATE}/cache", *(v for v in image.settings.values() if v.startswith(STATE))]
    command = [f'ENTRYPOINT ["python", "-m", "{image.module}"]']
    if image.arguments:
        command.append(
            f"CMD [{', '.join(f'{word!r}' for word in image.arguments)}]".replace("'", '"')
        )
    return f"""\
FROM ${{PYTHON}}
ARG VERSION={version}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="{title}" \\
    org.opencontainers.image.description="{words}" \\
    org.opencontainers.image.licenses="Apache-2.0" \\
    org.opencontainers.image.version="${{VERSION}}" \\
    org.opencontainers.image.revision="${{REVISION}}"
RUN groupadd --gid {USER} darkroom && \\
    useradd --uid {USER} --gid {USER} --no-log-init --no-create-home --home-dir /tmp darkroom && \\
    install -d -o {USER} -g {USER} {" ".join(made)}
COPY --from=build /opt/darkroom /opt/darkroom
ENV {variables}
USER {USER}:{USER}
WORKDIR /tmp
{_health(image)}STOPSIGNAL SIGTERM
{chr(10).join(command)}"""


def _health(image: Image) -> str:
    if not image.ports:
        return "HEALTHCHECK NONE\n"
    ports = "".join(f', "{port}"' for port in image.ports)
    exposed = " ".join(map(str, image.ports))
    return f"""\
EXPOSE {exposed}
HEALTHCHECK --interval=10s --timeout=6s --start-period=180s --retries=6 \\
    CMD ["python", "-I", "-S", "/opt/darkroom/healthy.py"{ports}]
"""


def main() -> int:
    """0 if all files are (now) what the recipe says."""
    written = {ROOT / image.folder / "Dockerfile": recipe(image) for image in IMAGES}
    stale = [file for file, text in written.items() if _content(file) != text]
    if "--check" in sys.argv[1:]:
        for file in stale:
            sys.stderr.write(f"{file.relative_to(ROOT)}: run python deploy/images/generate.py\n")
        return 1 if stale else 0
    for file in stale:
        file.write_text(written[file], encoding="utf-8")
    return 0


def _content(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())

#!/bin/sh
# Pin everything that the packages and requirements/dev.in ask for. Run after a change of either.
set -eu
cd "$(dirname "$0")/.."
ours=$(sed -n 's/^name = "\(darkroom-.*\)"/--no-emit-package \1/p' libs/*/pyproject.toml services/*/pyproject.toml schemas/pyproject.toml)
# shellcheck disable=SC2086
uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header \
    $ours libs/*/pyproject.toml services/*/pyproject.toml schemas/pyproject.toml requirements/dev.in \
    --output-file requirements/all.txt
{
    echo "# Only the installer: the launcher installs it with pip, it installs the rest. Cut from all.txt."
    sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ /p;}' requirements/all.txt
} > requirements/bootstrap.txt

#!/bin/sh
# Pin everything that the packages and requirements/dev.in ask for, then what each image needs of it.
# Run after a change of either.
#
# sh requirements/compile.sh            all.txt, bootstrap.txt, tools.txt, cpu/*.txt, cuda/*.txt
# sh requirements/compile.sh torch-cpu URL
#     torch-cpu/*.txt: images with torch for CPUs, whose wheels lie at an index of their own (URL)
set -eu
cd "$(dirname "$0")/.."
ours=$(sed -n 's/^name = "\(darkroom-.*\)"/--no-emit-package \1/p' libs/*/pyproject.toml services/*/pyproject.toml schemas/pyproject.toml)

pin() { # file, then what is pinned in it
    file=requirements/$1
    shift
    mkdir -p "$(dirname "$file")"
    # shellcheck disable=SC2086
    uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate \
        --no-header $ours --output-file "$file" "$@"
}

with_torch() { # folders of the packages that can do with torch and without
    grep -l '^torch = \[' services/*/pyproject.toml | xargs -n 1 dirname
}

if [ "${1-}" = torch-cpu ]; then
    # all.txt allows for 2.15.0+cpu what it allows for 2.15.0, and the former counts as the newer one.
    for folder in $(with_torch); do
        pin "torch-cpu/${folder##*/}.txt" -c requirements/all.txt --extra torch \
            --index "$2" --index-strategy unsafe-best-match "$folder/pyproject.toml"
    done
    exit
fi

pin all.txt --all-extras libs/*/pyproject.toml services/*/pyproject.toml schemas/pyproject.toml \
    requirements/dev.in
{
    echo "# Only the installer: the launcher installs it with pip, it installs the rest. Cut from all.txt."
    sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ /p;}' requirements/all.txt
} > requirements/bootstrap.txt
pin tools.txt -c requirements/all.txt requirements/tools.in
for folder in libs/cli services/*; do
    pin "cpu/${folder##*/}.txt" -c requirements/all.txt "$folder/pyproject.toml"
done
for folder in $(with_torch); do
    pin "cuda/${folder##*/}.txt" -c requirements/all.txt --extra torch "$folder/pyproject.toml"
done

#!/usr/bin/env bash
# Every notebook runs from an empty folder to its end, with the distribution's Jupyter, and the files in
# the tree carry what they say (but for what differs between machines). Skipped where its packages are missing (Debian: python3-nbclient,
# python3-ipykernel, python3-numpy, python3-msgpack), and with sanitizers, which Python does not load.
#   tests/experiments/test_notebooks.sh JEPA          runs them
#   tests/experiments/test_notebooks.sh JEPA --write  and keeps what they say (after they were changed)
# Their videos come from: jepa synth --out ...
set -u
source "$(dirname "$0")/library.sh"
notebooks=$(cd "$here/../../notebooks" && pwd)
python_with "nbclient, ipykernel, IPython, numpy, msgpack" "python3-nbclient python3-ipykernel python3-numpy python3-msgpack"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$notebooks"/*.ipynb "$notebooks"/*.py "$work" || exit 1
export JEPA=$jepa JEPA_LIBRARY=$library PYTHONDONTWRITEBYTECODE=1 PYDEVD_DISABLE_FILE_VALIDATION=1
export IPYTHONDIR=$work/.ipython JUPYTER_RUNTIME_DIR=$work/.runtime
"$python" "$here/execute_notebooks.py" "$work" "${@:2}" || { echo "FAILED: a notebook"; exit 1; }
if [ "${2:-}" = --write ]; then
    cp "$work"/*.ipynb "$notebooks"
fi
# a code cell of the tree without its number was never executed
for notebook in "$notebooks"/*.ipynb; do
    if grep -q '"execution_count": null' "$notebook"; then
        echo "FAILED: $notebook carries no output: run this script with --write"
        exit 1
    fi
done

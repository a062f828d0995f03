#!/bin/sh
# Installs what the peers need into a virtual environment, from PyPI: install.sh [FOLDER]
#
# About 6 GB, most of it PyTorch's libraries for graphics cards, which its Linux package cannot do without.
# The peers use the CPU alone. Not part of any test; nothing outside FOLDER changes.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
folder=${1:-$here/../../build/peers}
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "install.sh: Python 3.11 or newer is needed (PYTHON names another one)" >&2
  exit 3
fi
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
echo "installed; now: $folder/bin/python $here/compare.py --quick"

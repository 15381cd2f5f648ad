# Sourced by the other scripts, never run: changes to the repository's root, makes CIFAR10_ROOT absolute
# and defines `environment FILE`, which makes .venv and installs FILE into it when a requirements file has changed.

case "${CIFAR10_ROOT:-}" in
    "" | /*) ;;
    *) export CIFAR10_ROOT="$PWD/$CIFAR10_ROOT" ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

environment() {
    local python=${PYTHON:-python3} stamp
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "attn needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Name another one with PYTHON=..." >&2
        exit 1
    }
    if ! [ -x .venv/bin/python ]; then # also where the Python behind it is gone
        rm -f .venv/bin/python* .venv/*.installed
        "$python" -m venv .venv || exit 1
    fi
    stamp=$(cat requirements*.txt | cksum)
    if [ "$(cat ".venv/$1.installed" 2>/dev/null)" != "$stamp" ]; then
        # An earlier try may have been broken off before pip was there.
        .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >&2 || exit 1
        echo "Installing $1 into .venv (torch is several GB the first time) ..." >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$1" || exit 1
        echo "$stamp" >".venv/$1.installed"
    fi
}

#!/usr/bin/env bash
# Installs what the tests need into .venv, checks style, runs the fast tests, a process a core.
#   bash scripts/test.sh                the fast ones
#   bash scripts/test.sh all            the slow ones too, as CI does
#   bash scripts/test.sh [all] ARGS...  ARGS go to pytest
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment requirements-dev.txt

select=(-m "not slow")
if [ "${1:-}" = all ]; then
    select=()
    shift
fi
cores=(--numprocesses auto --maxprocesses 4 --dist worksteal)
.venv/bin/ruff check .
.venv/bin/ruff format --check .
exec .venv/bin/python -m pytest --durations=8 "${cores[@]}" ${select[@]+"${select[@]}"} "$@"

#!/usr/bin/env bash
# What waits for a GPU: its tests, then as many missing runs of the post's recipe as fit, then packs what
# they made into parts under 16 MiB. A run stops where its time is up and goes on at the next call.
#   bash scripts/gpu.sh [--minutes N] [--out FOLDER]     (10 minutes; runs/_packed)
# The parts unpack anywhere, into runs/:                  cat runs.tar.gz.* | tar xz
# PYTHON=python3 uses that interpreter with what is installed there, instead of .venv.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

minutes=10 out=runs/_packed
while [ $# -gt 0 ]; do
    case "$1" in
        --minutes) minutes=$2 ;;
        --out) out=$2 ;;
        *)
            echo "gpu.sh $1: it takes --minutes N and --out FOLDER" >&2
            exit 2
            ;;
    esac
    shift 2
done

if [ -z "${PYTHON:-}" ]; then
    environment requirements-dev.txt
    PYTHON=.venv/bin/python
fi
"$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "gpu.sh: torch sees no GPU on this machine" >&2
    exit 1
}
end=$((SECONDS + minutes * 60 - 30)) # 30 seconds for packing
left() { echo $((end > SECONDS ? end - SECONDS : 1)); }

failed=0
timeout "$(left)" "$PYTHON" -m pytest -m gpu attn/tests/test_draws.py attn/tests/test_engine.py || failed=$?
for experiment in accuracy noise; do
    [ "$(left)" -gt 30 ] || break
    status=0
    timeout --signal=INT --kill-after=20 "$(left)" \
        "$PYTHON" train.py experiment=$experiment recipe=post device=cuda || status=$?
    case "$status" in
        0) ;;
        124 | 130 | 137) echo "gpu.sh: time is up in experiment=$experiment; the next call goes on with it" ;;
        *) failed=$status ;;
    esac
done

mkdir -p "$out"
rm -f "$out"/runs.tar.gz.*
list=$(mktemp)
for folder in runs/*/; do
    [ -f "$folder/config.yaml" ] || continue
    for file in config.yaml metrics.csv scores.csv predictions.npz summary.json; do
        [ -f "$folder$file" ] && echo "$folder$file"
    done
    if [ ! -f "$folder/summary.json" ] && [ -f "$folder/checkpoint.pt" ]; then
        echo "${folder}checkpoint.pt"
        echo "${folder}checkpoint.sha256"
    fi
done >"$list" || true
[ -s "$list" ] || { echo "gpu.sh: no run to pack" >&2 && exit 1; }
tar cz --files-from "$list" | split --bytes=15M --numeric-suffixes - "$out/runs.tar.gz."
rm -f "$list"
ls -l "$out"
exit "$failed"

#!/usr/bin/env bash
# What waits for a GPU: its tests, the benchmark's first ways, the 20 runs of the post's two tables, timed;
# then the rest of the benchmark, the profile, the memory formats and what runs the other claims take.
# Packs what they made into parts under 16 MiB. What is done is not done again, and a run that stops where
# the time is up goes on at the next call on this machine; on another one what runs/_packed has is done.
#   bash scripts/gpu.sh [--minutes N] [--out FOLDER]     (10 minutes; runs/_packed)
# The parts unpack in the repository's root:              cat runs.tar.gz.* | tar xz
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
"$PYTHON" -c 'import hydra, pytest, scipy, tensorboard, timm, torchvision' || {
    echo "gpu.sh: $PYTHON lacks what requirements-dev.txt names" >&2
    exit 1
}
"$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "gpu.sh: torch sees no GPU on this machine" >&2
    exit 1
}
end=$((minutes * 60 - 60)) # of this script's seconds; the last minute is for stopping and packing
left() { echo $((end > SECONDS ? end - SECONDS : 1)); }
least() { echo $(($1 < $(left) ? $1 : $(left))); }
phase() { echo "gpu.sh: $1, after $SECONDS s"; }

failed=0
mkdir -p runs results/bench
if compgen -G "runs/_packed/runs.tar.gz.*" >/dev/null; then
    cat runs/_packed/runs.tar.gz.* | tar xz --skip-old-files
fi
gpu=$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name(), "torch", torch.__version__)')
# What was tested, in a file that comes back with the results: another machine need not test it again.
code=$(find attn scripts configs train.py -type f ! -name '*.pyc' | LC_ALL=C sort | xargs cat | cksum)
stamp=results/bench/gpu-tests.txt
if ! grep -qsF "$code" "$stamp"; then
    phase "the GPU tests"
    log=$(mktemp)
    timeout --signal=INT --kill-after=20 "$(least 300)" "$PYTHON" -m pytest -v -m gpu attn/tests |
        tee "$log" || failed=$?
    results=$(grep -E '^(FAILED|ERROR)|^[=!]* ?[0-9]+ (passed|failed|skipped)' "$log" || true)
    case "$failed" in
        124 | 137) results+=$'\n'"stopped after $SECONDS s, behind $(grep '::' "$log" | tail -n 1)" ;;
    esac
    printf '%s\n' "$gpu" "$results" "code $code" >"$stamp"
fi

finished() { find runs -path 'runs/*/summary.json' | wc -l; }

runs() { # those of experiments, an argument each; the next one's first step is compiled meanwhile
    local words options status ahead cache began before made
    while [ $# -gt 0 ]; do
        words=$1 ahead=
        shift
        [ "$(left)" -gt 150 ] || return 0
        phase "experiment=$words"
        before=$(finished) began=$SECONDS cache=none
        [ ! -d "$TORCHINDUCTOR_CACHE_DIR/fxgraph" ] || cache=some
        if [ $# -gt 0 ]; then
            read -ra options <<<"experiment=$1"
            timeout "$(least 300)" "$PYTHON" -m attn.training.ahead "${options[@]}" device=cuda &
            ahead=$!
        fi
        status=0
        read -ra options <<<"experiment=$words"
        # What is left behind is for looking into the networks.
        timeout --signal=INT --kill-after=20 "$(($(left) - 100))" \
            "$PYTHON" train.py "${options[@]}" device=cuda || status=$?
        case "$status" in
            0) [ -z "$ahead" ] || wait "$ahead" || true ;;
            124 | 130 | 137) echo "gpu.sh: time is up in experiment=$words; the next call goes on with it" ;;
            *) failed=$status ;;
        esac
        [ -z "$ahead" ] || kill "$ahead" 2>/dev/null || true
        made=$(($(finished) - before))
        [ "$made" = 0 ] || echo "$gpu: experiment=$words: $made runs finished in" \
            "$((SECONDS - began)) s; compiled kernels at its start: $cache" >>results/bench/gpu-runs.txt
    done
}

bench() { # SECONDS [OPTIONS]
    phase "the benchmark"
    "$PYTHON" scripts/bench.py --minutes "$(($1 / 60))" "${@:2}" || failed=$?
}

export TORCHINDUCTOR_CACHE_DIR=$PWD/runs/_inductor # of the runs; the tests' and the benchmark's are others
compgen -G "results/bench/nvidia*/bench.csv" >/dev/null || bench "$(least 180)" --ways 2
# The post's two tables, in one call from their start on: how long they take is a figure of its own.
[ "$(left)" -le 300 ] || runs "accuracy seeds=5" "noise data=rgb_noise seeds=5"
[ "$(left)" -le 60 ] || bench "$(left)"
for script in step_profile:profile memory_format:formats; do
    [ "$(left)" -le 60 ] || compgen -G "results/bench/nvidia*/${script#*:}.md" >/dev/null || {
        phase "${script%:*}"
        timeout "$(left)" "$PYTHON" "scripts/${script%:*}.py" || failed=$?
    }
done
# What every claim takes; the longest last.
runs accuracy noise controls controls_first cost bottleneck spatial kernel pooling order stages se_cifar

# What needs a checkpoint, which is too large to leave this machine: gates over images, scores by
# class, what is lost without a channel. A network that was looked into is not again.
if compgen -G "runs/*/summary.json" >/dev/null && [ "$(left)" -gt 5 ]; then
    status=0
    phase "what needs a checkpoint"
    timeout "$(left)" "$PYTHON" eval.py checkpoint=all || status=$?
    [ "$status" = 0 ] || [ "$status" = 124 ] || failed=$status
fi

mkdir -p "$out"
rm -f "$out"/runs.tar.gz.*
list=$(mktemp)
for folder in runs/*/; do
    [ -f "$folder/config.yaml" ] || continue
    for file in config.yaml environment.json metrics.csv scores.csv predictions.npz stem.csv \
        summary.json importance.csv classes.csv swap.csv maps.npz; do
        [ -f "$folder$file" ] && echo "$folder$file"
    done
done >"$list" || true
find results/bench -type f >>"$list" 2>/dev/null || true
[ -s "$list" ] || { echo "gpu.sh: no run to pack" >&2 && exit 1; }
tar cz --files-from "$list" | split --bytes=15M --numeric-suffixes - "$out/runs.tar.gz."
rm -f "$list"
ls -l "$out"
exit "$failed"

#!/usr/bin/env bash
# What waits for a GPU. First a smoke test, which chooses how the runs compute; then the runs of the post's
# two tables with 2 seeds, a minute that times seeds as streams and stacked in one network, and the tables
# with 5 and with 10; then the GPU tests, a profile, the benchmark, the memory formats and what the other
# claims take. After each phase all is packed into at most 8 files of 15 MB, with the checkpoints of
# unfinished runs as far as they fit. What is done is not done again: unpack the files in the repository's
# root of any machine, and the next call goes on there.
#   bash scripts/gpu.sh [--seconds N] [--out FOLDER]     (540 seconds; runs/_packed)
#   cat runs.tar.gz.* | tar xz
# PYTHON=python3 uses that interpreter with what is installed there, instead of .venv.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

seconds=540 out=runs/_packed
while [ $# -gt 0 ]; do
    case "$1" in
        --seconds) seconds=${2:-} ;;
        --out) out=${2:-} ;;
        *) echo "gpu.sh $1: it takes --seconds N and --out FOLDER" >&2 && exit 2 ;;
    esac
    shift $(($# < 2 ? $# : 2))
done
[[ "$seconds" =~ ^[1-9][0-9]*$ && "$seconds" -ge 12 ]] || { echo "gpu.sh --seconds $seconds: a whole number of at least 12" >&2 && exit 2; }
[ -n "$out" ] || { echo "gpu.sh --out: name a folder" >&2 && exit 2; }

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

mkdir -p runs results/bench "$out"
phases=results/bench/gpu-phases.txt stamp=results/bench/gpu-tests.txt how=runs/_how
export TORCHINDUCTOR_CACHE_DIR=$PWD/runs/_inductor
gpu=$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name(), "torch", torch.__version__)')
end=$((seconds - seconds / 12)) # of this script's seconds; what is behind it is for stopping and packing
failed=0 job=

left() { echo $((end > SECONDS ? end - SECONDS : 0)); }
least() { echo $(($1 < $(left) ? $1 : $(left))); }
finished() { find runs -path 'runs/[!_]*/summary.json' | wc -l; }
say() { echo "gpu.sh: $1, after $SECONDS of $seconds s"; }

limited() { # SECONDS COMMAND ...: as long as that, with a moment more for an end in order
    [ "$1" -gt 0 ] || return 124 # which timeout takes for no limit
    timeout --signal=INT --kill-after=$((seconds / 60 + 1)) "$@" &
    job=$!
    wait "$job" # which a signal ends, while bash waits for a command in front to end first
}

listed() { # every small file of every run, then the checkpoints of unfinished runs while they fit
    local folder small room=$((8 * 14 * 1024 * 1024)) size
    small=$(
        find results/bench -type f
        find runs/[!_]*/ -maxdepth 1 -type f ! -name '*.pt' ! -name 'events*' ! -name '.*' 2>/dev/null
    )
    [ -n "$small" ] || return 0
    echo "$small"
    room=$((room - $(echo "$small" | tar cz --ignore-failed-read --files-from - 2>/dev/null | wc -c)))
    for folder in $(ls -t -d runs/[!_]*/ 2>/dev/null); do
        [ ! -f "$folder/summary.json" ] && [ -f "$folder/checkpoint.pt" ] || continue
        size=$(stat -c %s "$folder/checkpoint.pt")
        [ "$size" -lt "$room" ] || continue
        room=$((room - size))
        echo "$folder/checkpoint.pt"
    done
}

pack() {
    local new
    new=$(mktemp -d "$out/.packing-XXXX")
    listed | tar cz --ignore-failed-read --files-from - 2>/dev/null | # a file may go while it is read
        split --bytes=15M --numeric-suffixes - "$new/runs.tar.gz."
    rm -f "$out"/runs.tar.gz.*
    mv "$new"/runs.tar.gz.* "$out"
    rmdir "$new"
}
trap pack EXIT # whatever ends this script, what was made comes back
trap 'kill -INT "$job" 2>/dev/null; wait; exit 130' INT TERM

note() { # NAME STATUS BEGAN RUNS-BEFORE: a line of what a phase made, in a file that comes back
    local made=$(($(finished) - $4)) rate mode last
    last=$(ls -t runs/[!_]*/metrics.csv 2>/dev/null | head -1)
    rate=$([ -z "$last" ] || awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "images_per_second") c = i}
        END {if (c && NR > 1) printf "%.0f images/s, %.2f ms for 32", $c, 32000 / $c}' "$last")
    mode=$(grep -ho '"mode": "[^"]*"' "${last%metrics.csv}"*.json 2>/dev/null | tail -1)
    echo "$gpu: $1: status $2, $((SECONDS - $3)) s, $made runs finished${rate:+, last $rate}${mode:+, $mode}" |
        tee -a "$phases"
}

phase() { # NAME SECONDS COMMAND ...
    local name=$1 limit=$2 began=$SECONDS before status=0
    shift 2
    before=$(finished)
    say "$name, $limit s at most"
    limited "$limit" "$@" || status=$?
    local up= # by the clock: a command that ran out of memory ends with 137 too
    [ "$status" = 0 ] || [ $((SECONDS - began)) -lt "$limit" ] || up=yes
    if [ -n "$up" ]; then
        echo "gpu.sh: time is up in $name; the next call goes on with it"
    elif [ "$status" != 0 ]; then
        failed=$status
    fi
    note "$name" "$status" "$began" "$before"
    pack
    [ -z "$up" ]
}

smoke() { # SECONDS HOW ...: two seeds of few images with noise, the last batch a smaller one; what was asked for must have been computed
    local began=$SECONDS status=0
    rm -rf runs/_smoke
    ATTN_CAPTURE=$2 limited "$(least "$1")" "$PYTHON" train.py data=rgb_noise \
        location=first recipe.images=650 recipe.test_images=500 recipe.epochs=1 seeds=2 device=cuda \
        compile="$3" runs=runs/_smoke >runs/_smoke.txt 2>&1 || status=$?
    echo "$gpu: smoke test, capture $2, compile $3: status $status, $((SECONDS - began)) s" | tee -a "$phases"
    tail -n 3 runs/_smoke.txt >>"$phases"
    [ "$status" = 0 ] && [ "$(grep -l "$4" runs/_smoke/*/summary.json 2>/dev/null | wc -l)" = 2 ]
}

choose() { # writes how the runs compute: the first of two ways that passes, else neither compiled nor captured
    [ "$(left)" -ge $((seconds / 6)) ] || { say "no time for the smoke test" && exit 0; }
    say "the data, then the smoke test"
    # Decoding takes its own time, so that it counts against no way to compute. A step of MobileNetV2
    # has 700 kernels, which a machine without a compilation cache compiles for a minute or more.
    limited "$(least $((seconds / 6)))" "$PYTHON" -c 'from attn.data import load; load()'
    if smoke $((seconds / 3)) 1 true '"mode": "compiled graph"'; then
        echo "1 null" >"$how"
    elif smoke $((seconds / 6)) 1 false '"mode": ".*graph"'; then
        echo "1 false" >"$how"
    else
        echo "0 false" >"$how"
    fi
    echo "$gpu: capture and compile: $(cat "$how"), after $SECONDS s" | tee -a "$phases"
    pack
}

train() { # WORDS ...: an experiment; fails where the time is up
    [ "$(left)" -ge $((seconds / 12)) ] || return 1
    phase "experiment=$*" "$(left)" "$PYTHON" train.py "experiment=$1" "${@:2}" device=cuda compile="$compile"
}

tables() { # SEEDS: the post's two
    train accuracy "seeds=$1" && train noise data=rgb_noise "seeds=$1"
}

tests() {
    local code log cut=
    # Another machine need not test the same code again.
    code=$(find attn scripts configs train.py -type f ! -path '*/__pycache__/*' | LC_ALL=C sort | xargs cat | cksum)
    code="$code, capture $capture"
    ! grep -qsF "$code" "$stamp" || return 0
    log=$(mktemp)
    phase "the GPU tests" "$(least $((seconds / 2)))" \
        "$PYTHON" -u -m pytest -v -m gpu attn/tests >"$log" 2>&1 || cut=yes
    { echo "$gpu" && grep -E '^(FAILED|ERROR)|^[=!]* ?[0-9]+ (passed|failed|skipped)|::' "$log" | tail -n 40; } >"$stamp"
    # A run that was cut is tested again, though pytest counts what had passed by then.
    [ -n "$cut" ] || ! grep -qE '^[=!]* ?[0-9]+ (passed|failed|skipped)' "$log" || echo "code $code" >>"$stamp"
    tail -n 15 "$log"
}

measured() { compgen -G "results/bench/nvidia*/$1" >/dev/null; }

[ -s "$how" ] || choose
read -r capture compile <"$how"
export ATTN_CAPTURE=$capture
tables 2 && {
    # Early and short: it decides how seeds should train together, while there is a GPU to go on with.
    [ "$(left)" -lt $((seconds / 9)) ] || grep -qs '^| 10 ' results/bench/nvidia*/stacked.md ||
        phase "seeds as streams and stacked" $((seconds / 9)) "$PYTHON" scripts/stacked.py
    tables 5 && tables 10
}
[ "$(left)" -lt $((seconds / 9)) ] || tests
[ "$(left)" -lt $((seconds / 9)) ] || measured profile.md ||
    phase "a profile" "$(left)" "$PYTHON" scripts/step_profile.py compile="$compile"
[ "$(left)" -lt $((seconds / 4)) ] ||
    phase "the benchmark" "$(left)" "$PYTHON" scripts/bench.py --minutes "$(($(left) / 60))" compile="$compile"
[ "$(left)" -lt $((seconds / 9)) ] || measured formats.md ||
    phase "the memory formats" "$(left)" "$PYTHON" scripts/memory_format.py
for experiment in noise controls controls_first cost bottleneck spatial kernel pooling order stages se_cifar; do
    train "$experiment" || break
done
# What needs a checkpoint, which is too large to leave this machine: gates over images, what is lost
# without a channel. A network that was looked into is not again.
[ "$(left)" -lt $((seconds / 12)) ] || [ "$(finished)" = 0 ] ||
    phase "what needs a checkpoint" "$(left)" "$PYTHON" eval.py checkpoint=all
ls -l "$out"
exit "$failed"

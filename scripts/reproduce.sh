#!/usr/bin/env bash
# The post's two tables and its picture of attention scores, from runs on this machine.
#   bash scripts/reproduce.sh          quick: ResNet-20 on a part of CIFAR-10, minutes on a CPU
#   bash scripts/reproduce.sh post     the post's own recipe, 10 seeds a row: wants a GPU
# Run again, it does only what is missing. Extra words go to train.py (seeds=3, device=cpu).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

what=${1:-quick}
shift || true
case "$what" in
    quick) options=(recipe=quick backbone=resnet20 seeds=2) ;;
    post) options=(recipe=post) ;;
    *)
        echo "reproduce.sh $what: choose quick (minutes on a CPU) or post (the published recipe, wants a GPU)" >&2
        exit 2
        ;;
esac
environment requirements.txt

found=0
case " $* " in
    *" data.source=synthetic "*) ;; # said by the user: nothing to find
    *) .venv/bin/python -m attn.data "$@" || found=$? ;;
esac
case " $* " in *" data.root="*) own=1 ;; *) own=0 ;; esac
if [ "$found" = 3 ] && [ "$what" = quick ] && [ "$own" = 0 ]; then
    cat >&2 <<'BANNER'
######################################################################
##  NO CIFAR-10 HERE, AND NONE COULD BE FETCHED.                    ##
##  Going on with SYNTHETIC images: what follows shows that the     ##
##  programs work, and nothing about CIFAR-10.                      ##
######################################################################
BANNER
    options+=(data.source=synthetic)
elif [ "$found" != 0 ]; then
    exit "$found"
fi

status=0
train() {
    local code=0
    .venv/bin/python train.py "$@" || code=$?
    [ "$code" != 130 ] || exit 130 # interrupted
    [ "$code" = 0 ] || status=$code # a run failed: the others still make tables
}

train experiment=accuracy "${options[@]}" "$@"
if [ "$what" = quick ]; then
    # The RGB baseline is the first table's; our control (RGB with attention at first) is left to post.
    train experiment=noise data=rgb_noise "${options[@]}" "$@"
else
    train experiment=noise "${options[@]}" "$@"
fi
runs=()
for word in "$@"; do
    case "$word" in runs=*) runs=("$word") ;; esac
done
.venv/bin/python eval.py ${runs[@]+"${runs[@]}"} # an empty array is unset for older versions of bash
exit "$status"

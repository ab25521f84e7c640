#!/usr/bin/env bash
# What only a GPU can show, by value, in under nine minutes on one H100:
#
#     workflow/gpu.sh OUT [DATA]
#
# 1  tests.txt   `pytest -m gpu`: measures, capture, compare, moments over NCCL, a training
# 2  gpu.md      times against this machine's processor
# 3  store/      the ConvNet with and without Freeze Training, at the paper's 160,000 steps, side by
#                side; then, in what time is left, the ResNet. DATA is a data set such as
#                cifar10:PATH, the path absolute; without it CIFAR-10 is downloaded.
#
# Each part is written as it ends, and what was written is not made again: call it again with the
# same OUT, and it goes on; a training goes on from its last saved step. The store that comes back
# is one that chapters read from ($SVCCA_STORE).
#
# SECONDS_IN_ALL  after which trainings are stopped, to go on another time (default 510)
# DEVICE          cuda; with cpu parts 1 and 2 run in small, to see that they would (the tests do)
# PROFILE         of the trainings: paper
# NETWORKS        convnet resnet
set -uo pipefail
out=${1:?usage: workflow/gpu.sh OUT [DATA]}
data=${2:-}
device=${DEVICE:-cuda}
profile=${PROFILE:-paper}
python=${PYTHON:-python3}
end=$((SECONDS + ${SECONDS_IN_ALL:-510}))
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.."
export SVCCA_STORE=$out/store

if [ "$device" = cuda ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "workflow/gpu.sh: torch finds no GPU here; with DEVICE=cpu the first two parts run in small" >&2
    exit 2
fi

# once NAME COMMAND...: run it if OUT/NAME is not there; what it prints is OUT/NAME once it succeeds.
once() {
    local name=$1
    shift
    [ -e "$out/$name" ] && return 0
    echo "$name: $(date +%T)" >&2
    if "$@" >"$out/$name.part" 2>&1; then
        mv "$out/$name.part" "$out/$name"
    else
        echo "$name failed, see $out/$name.part" >&2
        failed=1
    fi
}
failed=0

"$python" - >"$out/machine.txt" <<'PY'
import platform, torch
card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(f"{card}, torch {torch.__version__}, Python {platform.python_version()}")
PY

# A test of each kind that takes a GPU runs on a processor as well: there its CPU part is seen.
[ "$device" = cuda ] && chosen=(-m gpu) || chosen=(tests/models/test_on_devices.py)
once tests.txt "$python" -m pytest -q -p no:cacheprovider "${chosen[@]}"
[ "$device" = cuda ] && size=() || size=(--quick)
once gpu.txt "$python" benchmarks/on_gpu.py --device "$device" "${size[@]}" --out "$out"

# Both arms at once: one small network does not fill the card.
pair() {
    local name=$1 left=$((end - SECONDS)) arm
    local -A jobs=()
    [ "$left" -gt 5 ] || { echo "no time left for $name: call this again" >&2; return; }
    echo "$name and its Freeze Training, $profile: $(date +%T)" >&2
    for arm in "$name" "$name-freeze"; do
        timeout "$left" \
            "$python" -m svcca_lib train "$arm" --profile "$profile" --data "$data" \
            >"$out/train-$arm.txt" 2>&1 &
        jobs[$arm]=$!
    done
    for arm in "${!jobs[@]}"; do
        wait "${jobs[$arm]}"
        case $? in
            0) ;;
            124) echo "no time left for $arm: call this again" >&2 ;; # stopped by timeout
            *)
                echo "$arm failed, see $out/train-$arm.txt" >&2
                failed=1
                ;;
        esac
    done
}
for network in ${NETWORKS:-convnet resnet}; do
    pair "$network"
done
ls "$SVCCA_STORE/network" 2>/dev/null >"$out/trained.txt"
echo "$(wc -l <"$out/trained.txt") networks trained, see $out" >&2
exit "$failed"

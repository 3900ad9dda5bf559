#!/usr/bin/env bash
# What has it learnt, and when? Trains the quickstart recipe on `jepa synth` videos, and beside it the same
# recipe made to collapse; probes both after 25, 50 and 100 % of training (0 %: random weights) and sets
# the probes beside the diagnostics.
#   experiments/study.sh JEPA OUT [STEPS] [TRAIN] [TEST]
#     JEPA   the program
#     OUT    receives train/ and test/ (videos), the runs healthy/ and collapsed/, a folder of probes for
#            each checkpoint, study.csv and study.png; what is there already is kept
#     STEPS  480, in multiples of 240
#     TRAIN  1000 videos that train encoder and probes, TEST: 600 that test
# Takes about half an hour on two cores.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2; }
jepa=$(realpath "$1") out=$2 steps=${3:-480} train=${4:-1000} test=${5:-600}
[ $((steps % 240)) = 0 ] && [ "$steps" -gt 0 ] || { echo "STEPS: expected a multiple of 240, not $steps"; exit 2; }
recipes=$(realpath "$(dirname "$0")")/recipes
mkdir -p "$out"
cd "$out"
[ -f train/videos.csv ] || "$jepa" synth --out train --videos "$train" --seed 1
[ -f test/videos.csv ] || "$jepa" synth --out test --videos "$test" --seed 2
declare -A recipe=([healthy]=quickstart [collapsed]=synth-collapse)
for run in healthy collapsed; do
    echo "== $run"
    "$jepa" pretrain --data train --recipe "$recipes/${recipe[$run]}.yaml" --out "$run" --resume \
        --set optimization.epochs=$((steps / 60)) --set "checkpoint.every=$((steps / 4)) steps" \
        --set checkpoint.keep=100 --set diagnostics.every=$((steps / 8))
    for quarter in 1 2 4; do
        step=$((steps * quarter / 4))
        echo "== $run after $step steps"
        common=(--checkpoint "$run/step-$step" --segments 1)
        [ -f "$run-probe-$step/manifest.json" ] ||
            "$jepa" probe "${common[@]}" --data train --val test --probes knn,linear,attentive --out "$run-probe-$step"
        [ -f "$run-values-$step/manifest.json" ] ||
            "$jepa" probe "${common[@]}" --data train --val test --task regression --targets train/targets.csv \
                --val-targets test/targets.csv --out "$run-values-$step"
        rm -rf "$run-probe-$step/features" # tokens of every clip: 100 kB each
    done
done
"$jepa" study . healthy collapsed

#!/usr/bin/env bash
# Is what cannot be more surprising than what can? Trains the quickstart recipe on `jepa synth` videos (or
# takes a RUN), renders pairs of possible and impossible videos, and asks the model, its random-initialised
# twin and the predictor that repeats what it saw: OUT/surprise/results.csv, results.json and a picture of
# each kind.
#   experiments/physics_study.sh JEPA OUT [PAIRS] [RUN]
#     JEPA   the program
#     OUT    receives train/ (videos) and run/, unless RUN is given; pairs/ and surprise/; what is there
#            already is kept
#     PAIRS  200 of each of the four kinds: 100 scenes of two pairs, 1,600 videos in all
#     RUN    a checkpoint as `jepa surprise` takes it
# Options of `jepa surprise` (--context, --stride, --set, ...) may be given in SURPRISE.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2; }
jepa=$(realpath "$1") out=$2 pairs=${3:-200} run=${4:-}
[ -z "$run" ] || run=$(realpath "$run")
mkdir -p "$out"
cd "$out"
if [ -z "$run" ]; then
    run=run
    [ -d train ] || { rm -rf train.partial; "$jepa" synth --out train.partial --videos 1000 --seed 1; mv train.partial train; }
    "$jepa" pretrain --data train --out run --resume --set optimization.epochs=8
fi
[ -d pairs ] || { rm -rf pairs.partial; "$jepa" synth --out pairs.partial --physics --pairs "$pairs" --seed 3; mv pairs.partial pairs; }
if [ -f surprise/results.json ]; then
    echo "surprise/results.json is there and kept"
    exit 0
fi
# shellcheck disable=SC2086
"$jepa" surprise --checkpoint "$run" --pairs pairs --out surprise ${SURPRISE:-} | tee surprise.txt

#!/usr/bin/env bash
# The simple probes against an independent solver: features exported by jepa features, probes
# trained by jepa probe, the same problems solved by scikit-learn. What is compared, and how closely,
# is said in scikit.py. Skipped where scikit-learn is missing (Debian: python3-sklearn).
#   tests/eval/test_scikit.sh JEPA
set -euo pipefail
jepa=$(realpath "$1")
check=$(realpath "$(dirname "$0")")/scikit.py
python=
for candidate in python3 /usr/bin/python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c "import sklearn" 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "scikit-learn is missing (package python3-sklearn): skipped"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=8 --set data.batch_size=4
    --set model.embed_dim=24 --set model.depth=4 --set model.num_heads=2 --set model.pred_embed_dim=24
    --set model.pred_depth=1 --set model.pred_num_heads=2 --set optimization.ipe=3 --set optimization.epochs=1)
quiet() { "$jepa" "$@" >out.txt 2>&1 || { cat out.txt; echo "FAILED: jepa $*"; exit 1; }; }

quiet synth --out videos --videos 64 --size 32 --frames 24 --seed 3
quiet pretrain --data videos --out run "${tiny[@]}"
# numbers and labels that depend on the videos' names alone; the features are noise to them, which is
# as good a problem for a solver as any
"$python" - <<'PY'
import csv, glob, math
names = sorted(n[len("videos/"):] for n in glob.glob("videos/*/*.mp4"))
values, labels = open("values.csv", "w", newline=""), open("labels.csv", "w", newline="")
v, l = csv.writer(values), csv.writer(labels)
v.writerow(["file", "a", "b"])
l.writerow(["file", "even", "early"])
for i, n in enumerate(names):
    v.writerow([n, round(math.sin(i), 4), round(100 + 30 * math.cos(3 * i), 3)])
    l.writerow([n, i % 2, int(i < 25)])
PY
# 24 features of 48 training videos, and 72 (of three blocks), which are more than there are videos
for layers in -1 0,1,3; do
    out=of-$layers
    mkdir -p "$out"
    quiet features --checkpoint run --data videos --out "$out/store" --pooled --segments 2 --layers "$layers"
    quiet features --export "$out/store" --npy "$out/npy"
    common=(--checkpoint run --data videos --layers "$layers" --store "$out/store")
    quiet probe "${common[@]}" --out "$out/classes"
    quiet probe "${common[@]}" --out "$out/values" --task regression --targets values.csv
    quiet probe "${common[@]}" --out "$out/huber" --task regression --targets values.csv --loss huber
    quiet probe "${common[@]}" --out "$out/labels" --task multilabel --targets labels.csv
    "$python" "$check" "$out"
done

#!/usr/bin/env bash
# What jepa features costs beside the encoder's forward pass alone, decoding aside: on the same clips,
# in turn, in one run.
#
#   experiments/bench/features.sh BUILD [RUN VIDEOS]
#       BUILD    a build folder (cmake --build BUILD --target jepa features_bench)
#       RUN      a checkpoint, and a folder of videos; without them ViT-S/16 with random weights on
#                16 x 224 x 224 clips of synthetic videos
#   CLIPS=16 ROUNDS=3 DEVICE=cpu SETS="key=value ..." FORMS="tokens pooled"
# Decoded frames come from a cache in memory: of decoding only cropping and scaling are left. Prints
# Markdown: seconds of both in every round, and the median of their ratios. The disk is that of
# TMPDIR; every shard is flushed to it.
set -euo pipefail
build=$(realpath "$1") run=${2:-} videos=${3:-}
clips=${CLIPS:-16} rounds=${ROUNDS:-3} device=${DEVICE:-cpu} forms=${FORMS:-tokens pooled}
sets=()
for set in ${SETS:-}; do sets+=(--set "$set"); done
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1
if [ -z "$run" ]; then
    "$build/jepa" synth --out "$work/videos" --videos $(((clips + 1) / 2)) --size 240 --frames 80 --seed 1 >&2
    # a step of training makes the checkpoint; its weights are those of the seed, nearly
    "$build/jepa" pretrain --recipe "$here/vits16.yaml" --data "$work/videos" --out "$work/run" --device "$device" \
        --set data.batch_size=1 --set optimization.micro_batch=0 --set optimization.ipe=1 --set optimization.epochs=1 --set optimization.warmup=0 \
        >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    run=$work/run videos=$work/videos
fi
date -u +"%Y-%m-%d %H:%M UTC"
for form in $forms; do
    echo
    echo "$form"
    echo
    flag=()
    [ "$form" = pooled ] && flag=(--pooled)
    "$build/features_bench" --checkpoint "$run" --data "$videos" --out "$work" --segments 2 --rounds "$rounds" \
        --device "$device" "${sets[@]}" "${flag[@]}" 2>"$work/said" || { cat "$work/said"; exit 1; }
done

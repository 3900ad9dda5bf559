#!/usr/bin/env bash
# Every picture there is of a trained model, in one command: masks, latents, errors, the future, similarity,
# attention, a map of the folder, what it expects as pixels (a bank and a decoder are made of the folder), and
# surprise along a video.
#   experiments/pictures.sh JEPA RUN FOLDER OUT [VIDEO]
#     JEPA    the program
#     RUN     a checkpoint as `jepa visualize` takes it
#     FOLDER  videos: for the map, the bank and the decoder
#     OUT     receives bank/, decoder/, pictures/, map/ and surprise/; a bank and a decoder that are there are kept
#     VIDEO   the one that is shown; default: the first of FOLDER
# PATCHES=20000 of the bank and for the decoder; FORMAT=png,gif; SETS="key=value ..." as of --set.
set -euo pipefail
[ $# -ge 4 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2; }
jepa=$(realpath "$1") run=$2 folder=$3 out=$4 video=${5:-$3}
patches=${PATCHES:-20000} format=${FORMAT:-png,gif}
common=(--checkpoint "$run")
for set in ${SETS:-}; do common+=(--set "$set"); done
mkdir -p "$out"
[ -e "$out/bank" ] || "$jepa" bank "${common[@]}" --data "$folder" --out "$out/bank" --tokens "$patches"
[ -e "$out/decoder" ] || "$jepa" decoder train "${common[@]}" --data "$folder" --out "$out/decoder" --tokens "$patches"
"$jepa" visualize "${common[@]}" --video "$video" --out "$out/pictures" --format "$format" \
    --parts sheet,masks,latents,errors,future,expected,similarity,attention \
    --bank "$out/bank" --decoder "$out/decoder"
"$jepa" visualize "${common[@]}" --video "$folder" --out "$out/map" --parts map
"$jepa" surprise "${common[@]}" --video "$video" --out "$out/surprise"

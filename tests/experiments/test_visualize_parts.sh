#!/usr/bin/env bash
# jepa visualize, part by part: every file that is promised, in every kind that this machine can write;
# colours that are kept; clips of several videos; what has no predictor or is too short is refused in a
# line; memory does not grow with the video. Videos are made by: jepa synth --out DIR.
#   tests/experiments/test_visualize_parts.sh JEPA
set -u
jepa=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0
fail() { echo "FAILED: $*"; failed=1; }
run() { # command and arguments...
    "$jepa" "$@" >out.txt 2>err.txt || { fail "jepa $*"; cat err.txt; }
}
refused() { # exit code, part of what it says, arguments...
    local wanted=$1 message=$2
    shift 2
    "$jepa" visualize "$@" >out.txt 2>err.txt
    local got=$?
    [ $got -eq "$wanted" ] || fail "exit code $got, expected $wanted: $*"
    grep -q -- "$message" err.txt || { fail "no \"$message\": $*"; cat err.txt; }
    [ "$(grep -c '^jepa visualize:' err.txt)" -eq 1 ] || { fail "not one line: $*"; cat err.txt; }
}
there() { # folder, files...
    local folder=$1
    shift
    for file in "$@"; do
        [ -s "$folder/$file" ] || fail "no $folder/$file"
        # what is printed is what was written
        grep -qx "$folder/$file" out.txt || fail "$folder/$file is not in the list"
    done
}
small=(--set data.batch_size=4 --set data.num_frames=8 --set data.crop_size=32 --set optimization.ipe=2
       --set optimization.epochs=1 --set optimization.warmup=0)
run synth --out videos --videos 8 --size 48 --frames 40 --seed 3
run pretrain --data videos --out run "${small[@]}"
video=$(find videos -name '*.mp4' | sort | head -n 1)

# ---- every part alone, as pictures ----
run visualize --checkpoint run --video "$video" --out one --parts masks
there one masks.png
[ ! -e one/latents.png ] || fail "latents.png was not asked for"
run visualize --checkpoint run/step-2/model.safetensors --video "$video" --out two --parts latents --smooth
there two latents.png axes.safetensors
run visualize --checkpoint run --video "$video" --out three --parts errors --mask 1
there three errors.png
run visualize --checkpoint run --video "$video" --out four --parts similarity,attention --query 1,2,3 --query 0,0,0 --layer 1 --head 0
there four similarity.png attention.png
run visualize --checkpoint run --video videos --out five --parts map --segments 2 --perplexity 3
there five map-pca.png map-tsne.png map.csv
[ "$(wc -l <five/map.csv)" -eq 9 ] || fail "map.csv has not 8 rows and a heading"
cp five/map-tsne.png five/map.csv .
run visualize --checkpoint run --video videos --out five --parts map --segments 2 --perplexity 3 --threads 1
cmp -s map-tsne.png five/map-tsne.png && cmp -s map.csv five/map.csv || fail "a map is not the same again"

# ---- films, in all kinds that can be written ----
kinds=apng,gif,mp4
"$jepa" visualize --checkpoint run --video "$video" --out x --format webm --parts masks >out.txt 2>err.txt &&
    kinds=$kinds,webm || grep -q "webm: libavcodec of this machine has no encoder for it" err.txt ||
    { fail "webm"; cat err.txt; }
run visualize --checkpoint run --video "$video" --out six --parts masks,latents,errors,future,similarity,attention \
    --format png,$kinds --tile 32 --context-frames 2
for part in masks latents errors future similarity attention; do
    there six $part.png
    for kind in ${kinds//,/ }; do there six $part.$kind; done
done
[ "$(find six -type f | wc -l)" -eq $((1 + 6 * (1 + $(tr , '\n' <<<$kinds | wc -l)))) ] || fail "more files than were promised"
# the same command gives the same bytes
run visualize --checkpoint run --video "$video" --out again --parts latents,future --format png,$kinds --tile 32 --context-frames 2
for file in latents.png latents.gif future.png future.apng future.mp4; do
    cmp -s six/$file again/$file || fail "$file is not the same again"
done
# the future alone is a film and a picture, from where it is told to
run visualize --checkpoint run --video "$video" --out seven --parts future --start 9 --windows 2
there seven future.png future.mp4
grep -q "2 windows" out.txt || fail "--windows 2"

# ---- colours that are kept ----
run visualize --checkpoint run --video "$video" --out colors1 --parts latents
other=$(find videos -name '*.mp4' | sort | tail -n 1)
run visualize --checkpoint run --video "$other" --out colors2 --parts latents --axes colors1/axes.safetensors
[ ! -e colors2/axes.safetensors ] || fail "axes were fitted though they were given"
run visualize --checkpoint run --video "$other" --out colors3 --parts latents
cmp -s colors2/latents.png colors3/latents.png && fail "given axes change nothing"
run visualize --checkpoint run --video "$video" --out colors4 --parts latents --axes colors1/axes.safetensors
cmp -s colors1/latents.png colors4/latents.png || fail "an axes file gives other colours than the fit it is of"
run pretrain --data videos --out other "${small[@]}" --set meta.seed=9
run visualize --checkpoint other --video "$video" --out colors5 --parts latents --axes colors1/axes.safetensors
grep -q "fitted for another checkpoint" err.txt || fail "axes of another checkpoint without a word"
head -c 100 colors1/axes.safetensors >broken
refused 1 "broken" --checkpoint run --video "$video" --out no --axes broken

# ---- several videos ----
run visualize --checkpoint run --video videos --videos 3 --out several --parts masks,future --windows 1
[ "$(find several -name masks.png | wc -l)" -eq 3 ] || fail "not three videos"
[ "$(find several -name future.mp4 | wc -l)" -eq 3 ] || fail "not three futures"
[ "$(find several -name axes.safetensors | wc -l)" -eq 1 ] || fail "axes: once for all"

# ---- refusals ----
run synth --out short --videos 1 --size 48 --frames 6
refused 1 "6 frames .* fewer than a clip" --checkpoint run --video "$(find short -name '*.mp4')" --out no
refused 1 "none of its 1 videos\|fewer than a clip" --checkpoint run --video short --out no
[ ! -e no ] || fail "something was begun"
cat >levjepa.yaml <<'YAML'
objective: sigreg
data: {batch_size: 4, num_frames: 8, sampling_rate: 2, tubelet_size: 2, crop_size: 48, patch_size: 16}
sigreg: {token_drop_rate: 0.5, local_crops_number: 2, local_size: 32, hidden_dim: 32, output_dim: 16, num_proj: 16}
model: {model_name: null, use_rope: true, embed_dim: 48, depth: 2, num_heads: 2}
optimization: {ipe: 2, epochs: 1, warmup: 0, ema: [0.99, 0.99]}
YAML
run pretrain --data videos --recipe levjepa.yaml --out nopredictor
refused 2 "no predictor .*possible are similarity, attention and map" --checkpoint nopredictor --video "$video" --out no
run visualize --checkpoint nopredictor --video "$video" --out sigreg --parts similarity,attention # a class token
there sigreg similarity.png attention.png
# weights of an encoder alone: the predictor is there, but was never trained
run export run --format safetensors --network target --out encoder.safetensors
refused 2 "jepa import can be told" --checkpoint encoder.safetensors --video "$video" --out no
run import encoder.safetensors --out imported --heads 3 --frames 8 --crop 32
refused 2 "no trained predictor" --checkpoint imported --video "$video" --out no
run visualize --checkpoint imported --video "$video" --out encoder --parts similarity
there encoder similarity.png
if [ "$(id -u)" -ne 0 ]; then
    mkdir locked && chmod a-w locked
    refused 1 "cannot write into this folder" --checkpoint run --video "$video" --out locked
    refused 1 "locked" --checkpoint run --video "$video" --out locked/deeper
fi
touch file
refused 1 "file" --checkpoint run --video "$video" --out file/pictures
[ $failed -eq 0 ] && echo "visualize: every part is there"
exit $failed

#!/usr/bin/env bash
# jepa visualize, part by part: every file that is promised, in every kind that this machine can write;
# colours that are kept; clips of several videos; what has no predictor or is too short is refused in a
# line; memory does not grow with the video. Videos are made by: jepa synth --out DIR.
#   tests/experiments/test_visualize_parts.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
source "$here/small_run.sh"

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
expect "2 windows"

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
refused 1 "broken" visualize --checkpoint run --video "$video" --out no --axes broken

# ---- several videos ----
run visualize --checkpoint run --video videos --videos 3 --out several --parts masks,future --windows 1
[ "$(find several -name masks.png | wc -l)" -eq 3 ] || fail "not three videos"
[ "$(find several -name future.mp4 | wc -l)" -eq 3 ] || fail "not three futures"
[ "$(find several -name axes.safetensors | wc -l)" -eq 1 ] || fail "axes: once for all"

# ---- refusals ----
refuses_to_show visualize "no predictor .*possible are similarity, attention and map"
refused 1 "none of its 1 videos\|fewer than a clip" visualize --checkpoint run --video short --out never
[ ! -e never ] || fail "something was begun"
run visualize --checkpoint nopredictor --video "$video" --out sigreg --parts similarity,attention # a class token
there sigreg similarity.png attention.png
# weights of an encoder alone: the predictor is there, but was never trained
refused 2 "jepa import can be told" visualize --checkpoint encoder.safetensors --video "$video" --out no
run visualize --checkpoint imported --video "$video" --out encoder --parts similarity
there encoder similarity.png
if [ "$(id -u)" -ne 0 ]; then
    refused 1 "locked" visualize --checkpoint run --video "$video" --out locked/deeper
fi
finish "visualize: every part is there"

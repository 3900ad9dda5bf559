#!/usr/bin/env bash
# jepa transcode killed at random moments ends with the same bytes as one that was not.
#   tests/experiments/test_transcode.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
export XDG_CACHE_HOME=$work/cache
run synth --out in --videos 24 --seed 3
run transcode in --out whole --short-side 48 --threads 2
kills=0
for delay in 0.05 0.1 0.2 0.3 0.15; do
    "$jepa" transcode in --out cut --short-side 48 --threads 2 >/dev/null 2>&1 &
    pid=$!
    sleep $delay
    if kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); fi
    wait $pid 2>/dev/null
done
run transcode in --out cut --short-side 48 --threads 1
for folder in whole cut; do
    (cd $folder && find . -type f ! -name lock ! -name transcode.journal | sort | xargs sha256sum) >$folder.sums
done
cmp whole.sums cut.sums || fail "after $kills kills the results differ"
[ "$(grep -c mp4 whole.sums)" -eq 24 ] || fail "videos are missing"
refused 2 "other settings" transcode in --out cut --short-side 50
refused 2 "lies in the folder" transcode in --out in/out
finish "$kills kills"

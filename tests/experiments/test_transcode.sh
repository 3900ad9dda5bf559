#!/usr/bin/env bash
# jepa transcode killed at random moments ends with the same bytes as one that was not.
set -euo pipefail
jepa=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache
"$jepa" synth --out "$work/in" --videos 24 --seed 3 >/dev/null 2>&1
"$jepa" transcode "$work/in" --out "$work/whole" --short-side 48 --threads 2 >/dev/null 2>&1
kills=0
for delay in 0.05 0.1 0.2 0.3 0.15; do
    "$jepa" transcode "$work/in" --out "$work/cut" --short-side 48 --threads 2 >/dev/null 2>&1 &
    pid=$!
    sleep $delay
    if kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); fi
    wait $pid 2>/dev/null || true
done
"$jepa" transcode "$work/in" --out "$work/cut" --short-side 48 --threads 1 >/dev/null 2>&1
for folder in whole cut; do
    (cd "$work/$folder" && find . -type f ! -name lock ! -name transcode.journal | sort | xargs sha256sum) \
        >"$work/$folder.sums"
done
cmp "$work/whole.sums" "$work/cut.sums" || { echo "FAILED: after $kills kills the results differ"; exit 1; }
[ "$(grep -c mp4 "$work/whole.sums")" -eq 24 ] || { echo "FAILED: videos are missing"; exit 1; }
"$jepa" transcode "$work/in" --out "$work/cut" --short-side 50 2>"$work/said" && exit 1
grep -q "other settings" "$work/said"
"$jepa" transcode "$work/in" --out "$work/in/out" 2>"$work/said" && exit 1
grep -q "lies in the folder" "$work/said"
echo "$kills kills"

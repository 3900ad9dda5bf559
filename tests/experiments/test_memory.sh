#!/usr/bin/env bash
# The memory plan is honest: what a run takes is within 15 % of what it printed before it began.
#   tests/experiments/test_memory.sh JEPA
set -u
jepa=$1
if ldd "$jepa" | grep -q libasan; then
    echo "skipped: the sanitizer's own memory would be measured"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$jepa" synth --out "$work/videos" --videos 16 --size 64 --frames 34 >/dev/null 2>&1
"$jepa" pretrain --data "$work/videos" --out "$work/run" --set optimization.ipe=3 --set optimization.epochs=1 \
    >/dev/null 2>"$work/err" || { cat "$work/err"; exit 1; }
planned=$(sed -n 's/^memory plan: \([0-9.]*\) MiB.*/\1/p' "$work/err")
grown=$(sed -n 's/^resident memory grew by \([0-9.]*\) MiB.*/\1/p' "$work/err")
echo "planned $planned MiB, grown by $grown MiB"
awk -v p="$planned" -v g="$grown" 'BEGIN { exit !(p > 100 && g > 0.85 * p && g < 1.15 * p) }'

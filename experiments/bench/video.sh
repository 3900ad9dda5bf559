#!/usr/bin/env bash
# The loader against a naive one and, where they are installed, decord, torchcodec and the published
# data set class, on the same random clips, interleaved in one run.
#
#   experiments/bench/video.sh BUILD VIDEOS [PYTHON [CHECKOUT]]
#       BUILD     a build folder (cmake --build BUILD --target video_bench jepa)
#       VIDEOS    a folder of real videos; the sets of other codecs are made from its first files
#       PYTHON    an interpreter with torch, torchvision, decord and torchcodec; "" for none
#       CHECKOUT  a checkout of the published V-JEPA code, for its data set class
#   REPEATS=3 CLIPS=60 PARTS="one two long" DECODER=cuda
#       one: every set on one core (taskset); two: the given videos on two cores; long: 100,000 clips
#       for leaks, an index of 1,000 files and one of a million; DECODER=cuda: the loader once more with
#       the GPU decoding, as loader-cuda
# Prints a table of medians, clips a second and the highest resident memory.
set -euo pipefail
build=$1 videos=$2 python=${3:-} checkout=${4:-}
repeats=${REPEATS:-3} clips=${CLIPS:-60} parts=${PARTS:-one two long}
bench=$build/video_bench
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache

# Six sets of four 20-second videos each, cut from the first real ones.
make_set() { # name, filter, encoder options
    local name=$1 filter=$2 i=0 file
    shift 2
    mkdir -p "$work/sets/$name"
    find "$videos" -name '*.mp4' | sort | awk 'NR % 16 == 1' | head -4 | while read -r file; do
        i=$((i + 1))
        ffmpeg -v error -nostdin -y -stream_loop -1 -i "$file" -t 20 -an -vf "$filter,fps=30" "$@" \
            "$work/sets/$name/$i.${ending:-mp4}"
    done
}
: >"$work/rows"
: >"$work/errors"
if [[ $parts == *one* ]]; then
    echo "making the sets" >&2
    make_set h264-240p-gop12 scale=320:240 -c:v libx264 -g 12 -crf 23
    make_set h264-240p-gop250 scale=320:240 -c:v libx264 -g 250 -crf 23
    make_set h264-720p-gop12 scale=1280:720 -c:v libx264 -g 12 -crf 23
    make_set h264-720p-gop250 scale=1280:720 -c:v libx264 -g 250 -crf 23
    make_set hevc-360p-gop250 scale=640:360 -c:v libx265 -x265-params log-level=none:keyint=250 -crf 26
    ending=webm make_set vp9-360p-gop128 scale=640:360 -c:v libvpx-vp9 -b:v 500k -cpu-used 6 -deadline realtime
fi
mkdir -p "$work/sets"
ln -s "$(cd "$videos" && pwd)" "$work/sets/given"

measure() { # loader, set, workers, cpus
    local loader=$1 set=$2 workers=$3 cpus=$4 line
    case $loader in
        loader-cuda) line=$(taskset -c "$cpus" "$bench" loader "$work/sets/$set/" "$clips" "$workers" --decoder cuda) ;;
        loader | naive) line=$(taskset -c "$cpus" "$bench" "$loader" "$work/sets/$set/" "$clips" "$workers") ;;
        *) line=$(timeout 300 taskset -c "$cpus" "$python" "$here/video_peers.py" "$loader" \
            "$work/$set.draws" "$workers" $checkout 2>>"$work/errors" || true) ;;
    esac
    # loader, set, workers, clips a second, MiB
    echo "$line" | awk -v l="$loader" -v s="$set" -v w="$workers" \
        '{for (i = 2; i <= NF; i++) {if ($i == "clips/s") r = $(i - 1); if ($i == "MiB") m = $(i - 1)}}
         END {print l, s, w, r + 0, m + 0}' >>"$work/rows"
}
loaders=(loader naive)
if [ "${DECODER:-cpu}" = cuda ]; then loaders+=(loader-cuda); fi
if [ -n "$python" ]; then loaders+=(decord torchcodec torchcodec-approximate); fi
if [ -n "$checkout" ]; then loaders+=(published); fi
sets=()
for set in "$work"/sets/*; do
    sets+=("$(basename "$set")")
    "$bench" draws "$set/" "$clips" 1 >"$work/$(basename "$set").draws" 2>/dev/null
done
for repeat in $(seq "$repeats"); do
    for loader in "${loaders[@]}"; do
        if [[ $parts == *one* ]]; then
            for set in "${sets[@]}"; do
                # the published class is slow on large pictures: only on the given videos
                if [ "$loader" != published ] || [ "$set" = given ]; then measure "$loader" "$set" 1 0; fi
            done
        fi
        if [[ $parts == *two* ]]; then measure "$loader" given 2 0,1; fi
    done
    echo "round $repeat of $repeats done" >&2
done
if [ -n "${ROWS:-}" ]; then cp "$work/rows" "$ROWS"; fi
date -u +"%Y-%m-%d %H:%M UTC"
grep -m1 "model name" /proc/cpuinfo | sed 's/.*: //'
echo "$clips clips of 16 frames, step 4, to 224 x 224; median of $repeats rounds; clips a second (MiB)"
sort -k1,1 -k2,2 -k3,3n -k4,4n "$work/rows" | awk -v n="$repeats" '
    {key = $1 " " $2 " " $3; if (key != last) {count = 0; last = key}
     count++; rate[key, count] = $4; if ($5 > mib[key]) mib[key] = $5; total[key] = count}
    END {for (k in total) {split(k, p, " "); m = rate[k, int((total[k] + 1) / 2)]; print p[2], p[3], p[1], m, mib[k]}}' |
    sort -k1,1 -k2,2n -k3,3 | awk '
    {if ($1 " " $2 != last) {if (NR > 1) print ""; printf "%s, %d core(s):", $1, $2; last = $1 " " $2}
     printf "  %s %.1f (%d)", $3, $4, $5} END {print ""}'
sort "$work/errors" | uniq -c | sort -rn | head -5

if [[ $parts == *long* ]]; then
    echo "index, decode and packets, of the given videos copied to 1,000 files:"
    mkdir -p "$work/thousand"
    mapfile -t files < <(find "$videos" -name '*.mp4' | sort)
    for i in $(seq 1000); do cp "${files[$((i % ${#files[@]}))]}" "$work/thousand/$i.mp4"; done
    for check in decode packets; do
        "$build/jepa" index "$work/thousand" --check $check --out "$work/$check.index" 2>/dev/null | tail -1 |
            sed "s|$work/||"
    done
    "$bench" million "$work/million.index" 1000000 1
    echo "100,000 clips, two workers:"
    "$build/jepa" transcode "$videos" --out "$work/small" --short-side 64 --gop 16 >/dev/null 2>&1
    "$bench" loader "$work/small" 1000 2
    "$bench" loader "$work/small" 100000 2
fi

#!/usr/bin/env bash
# Exact frames in whatever this build of FFmpeg can encode: every video encoder of the command line
# tool that works, in the first container that takes it, and H.264 and HEVC with B-frames and open
# GOPs in all of them. Frames by jepa frames, in a mixed order, equal what ffmpeg decodes.
set -euo pipefail
jepa=$1
command -v ffmpeg >/dev/null || { echo "needs the ffmpeg tool: skipped"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Under sanitizers, where every start of the program takes its time, each third encoder is tried.
every=1
grep -q __asan_init "$jepa" && every=3
source=(-f lavfi -i "testsrc2=size=128x96:rate=25:duration=1.6")
files=0 frames=0 tried=0

compare() { # file
    local file=$1 total bytes count first
    ffmpeg -v quiet -nostdin -threads 1 -noautorotate -i "$file" -map 0:V:0 -fps_mode passthrough \
        -f rawvideo -y "$work/all.raw" </dev/null || return 0
    rm -rf "$work/out"
    if ! "$jepa" frames "$file" --indices 0 --raw --out "$work/out" >/dev/null 2>"$work/said"; then
        # what is not read is said, never given wrongly
        echo "  $(basename "$file"): $(cut -d: -f3- <"$work/said")"
        return 0
    fi
    first=$(ls "$work/out"/frame_000000.*)
    bytes=$(stat -c %s "$first")
    total=$(stat -c %s "$work/all.raw")
    count=$((total / bytes))
    [ $((count * bytes)) -eq "$total" ] || { echo "FAILED: $file: $total bytes are no whole frames"; exit 1; }
    local list=$((count - 1)),0,$((count / 2)),$((count / 3)),$(((count / 2 + 1) % count)),$((count * 3 / 4))
    "$jepa" frames "$file" --indices "$list" --raw --out "$work/out" >/dev/null
    for i in ${list//,/ }; do
        cmp -s <(tail -c +$((i * bytes + 1)) "$work/all.raw" | head -c "$bytes") "$work/out/$(printf 'frame_%06d' "$i")".* ||
            { echo "FAILED: $file: frame $i of $count differs from ffmpeg's"; exit 1; }
        frames=$((frames + 1))
    done
    "$jepa" frames "$file" --indices "$count" --raw --out "$work/out" >/dev/null 2>&1 &&
        { echo "FAILED: $file: a frame after the last"; exit 1; }
    files=$((files + 1))
}

for encoder in $(ffmpeg -v quiet -encoders | awk '$1 ~ /^V/ && NR > 10 {print $2}'); do
    tried=$((tried + 1))
    [ $((tried % every)) -eq 0 ] || continue
    case $encoder in *_vaapi | *_nvenc | *_qsv | *_v4l2m2m | *_amf | *_vulkan | =) continue ;; esac
    for ending in mkv avi mp4 ts flv mpg gif; do
        file=$work/$encoder.$ending
        if timeout 30 ffmpeg -v quiet -nostdin -y "${source[@]}" -threads 1 -strict -2 -c:v "$encoder" \
            "$file" </dev/null >/dev/null 2>&1 && [ -s "$file" ]; then
            compare "$file"
            break
        fi
    done
done
for coding in "libx264 -x264-params bframes=3:keyint=12:open-gop=1:scenecut=0" \
    "libx264 -x264-params bframes=3:keyint=250" "libx265 -x265-params log-level=none:keyint=12:bframes=4" \
    "mpeg4 -bf 2 -g 12" "mpeg2video -bf 2 -g 12"; do
    for ending in mp4 mov mkv avi ts flv mpg; do
        file=$work/b-${coding%% *}.$ending
        if timeout 30 ffmpeg -v quiet -nostdin -y "${source[@]}" -threads 1 -c:v $coding "$file" </dev/null >/dev/null 2>&1 &&
            [ -s "$file" ]; then
            compare "$file"
        fi
    done
done
echo "$files files, $frames frames equal ffmpeg's"
[ "$files" -ge 10 ]

#!/usr/bin/env bash
# A program that was built without FFmpeg: what needs videos says so in one line, with exit code 1, and
# leaves nothing behind; the rest works.
#   tests/experiments/test_without_ffmpeg.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
if ! "$jepa" doctor | grep -q "built without FFmpeg"; then
    "$jepa" doctor | grep -q "^decoders  *[^ ]" || fail "doctor knows neither FFmpeg nor its absence"
    [ $failed -eq 0 ] && echo "this program has FFmpeg: skipped"
    exit $failed
fi
needs_videos() { # command and arguments...
    refused 1 "built without FFmpeg, which reads videos: .*JEPA_FFMPEG=ON" "$@"
    [ -e out ] && { fail "something was left behind: jepa $*"; rm -rf out; }
}
mkdir videos
echo "no video at all" >videos/a.mp4
echo "videos/a.mp4 0" >list.csv
needs_videos frames videos/a.mp4 --indices 0 --out out
needs_videos synth --videos 8 --out out
needs_videos synth --from videos --out out
needs_videos synth --physics --pairs 2 --out out
needs_videos index videos --out out
needs_videos index list.csv --check packets --out out
needs_videos transcode videos --out out
needs_videos pretrain --data videos --out out
needs_videos pretrain --data list.csv --out out
needs_videos inspect videos

run doctor && expect "^libraries .*no FFmpeg"
run plan && expect "^operations .* FLOP a step"
run pretrain --dry-run && expect "^operations .* FLOP a step"
run pretrain --help && expect "jepa pretrain"
run transcode --help && expect "jepa transcode"
finish

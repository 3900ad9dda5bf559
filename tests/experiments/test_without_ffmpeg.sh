#!/usr/bin/env bash
# A program that was built without FFmpeg: what needs videos says so in one line, with exit code 1, and
# leaves nothing behind; the rest works.
#   tests/experiments/test_without_ffmpeg.sh JEPA
set -u
jepa=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0
fail() { echo "FAILED: $*"; failed=1; }
if ! "$jepa" doctor | grep -q "built without FFmpeg"; then
    "$jepa" doctor | grep -q "^decoders  *[^ ]" || fail "doctor knows neither FFmpeg nor its absence"
    [ $failed -eq 0 ] && echo "this program has FFmpeg: skipped"
    exit $failed
fi
refused() { # command and arguments...
    "$jepa" "$@" >out.txt 2>err.txt
    local got=$?
    [ $got -eq 1 ] || fail "exit code $got, expected 1: jepa $*"
    grep -q "built without FFmpeg, which reads videos: .*JEPA_FFMPEG=ON" err.txt || { fail "jepa $*"; cat err.txt; }
    [ "$(grep -c '^jepa' err.txt)" -eq 1 ] || { fail "not one line of error: jepa $*"; cat err.txt; }
    [ -e out ] && { fail "something was left behind: jepa $*"; rm -rf out; }
}
works() { # part of what it says, command and arguments...
    local message=$1
    shift
    "$jepa" "$@" >out.txt 2>err.txt || { fail "jepa $*"; cat err.txt; }
    grep -q -- "$message" out.txt || { fail "no \"$message\": jepa $*"; cat out.txt; }
}
mkdir videos
echo "no video at all" >videos/a.mp4
echo "videos/a.mp4 0" >list.csv
refused frames videos/a.mp4 --indices 0 --out out
refused synth --videos 8 --out out
refused synth --from videos --out out
refused synth --physics --pairs 2 --out out
refused index videos --out out
refused index list.csv --check packets --out out
refused transcode videos --out out
refused pretrain --data videos --out out
refused pretrain --data list.csv --out out
refused inspect videos

works "^libraries .*no FFmpeg" doctor
works "^operations .* FLOP a step" plan
works "^operations .* FLOP a step" pretrain --dry-run
works "jepa pretrain" pretrain --help
works "jepa transcode" transcode --help
[ $failed -eq 0 ] && echo "all as it should be"
exit $failed

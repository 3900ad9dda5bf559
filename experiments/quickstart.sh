#!/usr/bin/env bash
# From a bare Debian or Ubuntu to a trained, probed and pictured video world model:
#   experiments/quickstart.sh             on labelled videos that it makes itself
#   experiments/quickstart.sh FOLDER      on your own; class folders are probed
# Everything is written to quickstart-out/NAME of the data (JEPA_OUT=DIR: elsewhere); a second call goes on where the
# first was interrupted. JEPA_BUILD=DIR builds elsewhere than in build/.
set -euo pipefail

folder=${1:-}
if [ $# -gt 1 ] || [[ "$folder" == -* ]]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    [ "$folder" = --help ] && exit 0 || exit 2
fi
[ -z "$folder" ] || [ -e "$folder" ] || { echo "quickstart: $folder: no such folder or list" >&2; exit 1; }
[ -z "$folder" ] || folder=$(realpath "$folder")
name=synthetic
[ -z "$folder" ] || name=$(basename "$folder")
out=$(realpath -m "${JEPA_OUT:-quickstart-out/$name}")
cd "$(dirname "$0")/.."
source experiments/packages.sh

echo "== packages"
install_packages "${build_packages[@]}"

echo "== build"
build=${JEPA_BUILD:-build}
mkdir -p "$build" "$out"
cuda=OFF # kernels for every GPU take minutes to compile, and without a driver none can run
if nvidia-smi >/dev/null 2>&1; then cuda=AUTO; fi
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DJEPA_TESTS=OFF -DJEPA_CUDA=$cuda >"$build.log" 2>&1 &&
    cmake --build "$build" -j "$(nproc)" --target jepa >>"$build.log" 2>&1 ||
    { tail -40 "$build.log" >&2; echo "quickstart: the build failed, see $build.log" >&2; exit 1; }
jepa=$(realpath "$build/jepa")

if [ -z "$folder" ]; then
    folder=$out/videos
    if [ ! -e "$folder/videos.csv" ]; then
        echo "== synthetic videos"
        "$jepa" synth --out "$folder" --videos 400 --seed 1 # refuses a folder that holds anything
    fi
fi

echo "== pretrain"
"$jepa" pretrain --data "$folder" --out "$out/run" --resume | tee "$out/pretrain.txt"

echo "== probe"
code=0
"$jepa" probe --checkpoint "$out/run" --data "$folder" --out "$out/run/probe" >"$out/probe.txt" || code=$?
cat "$out/probe.txt"
if [ $code -eq 2 ]; then
    echo "(no probe: it needs class folders, or a list with labels, and several videos of each)"
    rm -f "$out/probe.txt"
elif [ $code -ne 0 ]; then
    exit $code
fi

echo "== visualize"
step=$(find "$out/run" -maxdepth 1 -regex '.*/step-[0-9]+' -printf '%f\n' | sort -V | tail -1)
"$jepa" visualize --checkpoint "$out/run/$step" --video "$folder" --out "$out/run/pictures/$step"

echo "== report"
"$jepa" report "$out/run" # takes in the probe and the pictures

echo
echo "== what came out"
grep -E "^(loss|feature std|RankMe|prediction) " "$out/pretrain.txt" || true
[ ! -e "$out/probe.txt" ] || grep -E "^(top-1|this encoder|random init|raw pixels|majority)" "$out/probe.txt"
echo "all of it in one page: $out/run/report.html"
echo "pictures:"
find "$out" -name '*.png' -not -path '*/videos/*' | sort | sed 's/^/  /'

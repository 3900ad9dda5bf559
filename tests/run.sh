#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test through ctest: once as released, once under
# AddressSanitizer and UndefinedBehaviorSanitizer; then the kernels' tests and check-reference once more
# in a program (and a libjepa) without FFmpeg, oneDNN, MPI and CUDA. This is what CI runs.
#   tests/run.sh            everything
#   JEPA_BUILD=DIR          where to build (default: build, and build-asan and build-bare beside it)
set -euo pipefail
cd "$(dirname "$0")/.."
source experiments/packages.sh
install_packages "${build_packages[@]}" "${test_packages[@]}"

jobs=$(nproc)
build=${JEPA_BUILD:-build}
run() { # folder, cmake options
    local folder=$1
    shift
    cmake -S . -B "$folder" -DJEPA_TESTS=ON -DJEPA_CUDA=AUTO "$@" >"$folder.log" 2>&1 || { cat "$folder.log"; exit 1; }
    cmake --build "$folder" -j "$jobs" >>"$folder.log" 2>&1 || { tail -60 "$folder.log"; exit 1; }
    grep -E "warning:" "$folder.log" | sort -u || true
    (cd "$folder" && ctest -j "$jobs" --output-on-failure --no-tests=error)
}
mkdir -p "$build"
echo "== release"
run "$build" -DCMAKE_BUILD_TYPE=Release
echo "== benchmarks and tests for a GPU compile"
cmake --build "$build" -j "$jobs" --target compile_only >>"$build.log" 2>&1 || { tail -60 "$build.log"; exit 1; }
echo "== AddressSanitizer and UndefinedBehaviorSanitizer"
# Memory that OpenBLAS and OpenMP keep to the end of the process is theirs, not a leak of ours.
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
export UBSAN_OPTIONS="print_stacktrace=1"
run "$build-asan" -DCMAKE_BUILD_TYPE=Debug -DJEPA_SANITIZE=ON

echo "== without FFmpeg, oneDNN, MPI and CUDA"
bare=(jepa jepa_shared)
for test in tests/kernels/test_*.c; do
    bare+=("kernels_$(basename "$test" .c)")
done
cmake -S . -B "$build-bare" -DCMAKE_BUILD_TYPE=Release -DJEPA_FFMPEG=OFF -DJEPA_ONEDNN=OFF -DJEPA_MPI=OFF \
    -DJEPA_CUDA=OFF >"$build-bare.log" 2>&1 || { cat "$build-bare.log"; exit 1; }
cmake --build "$build-bare" -j "$jobs" --target "${bare[@]}" >>"$build-bare.log" 2>&1 ||
    { tail -60 "$build-bare.log"; exit 1; }
grep -E "warning:" "$build-bare.log" | sort -u || true
(cd "$build-bare" && ctest -j "$jobs" --output-on-failure --no-tests=error -R "^kernels_|_check_reference$|_without_ffmpeg$")

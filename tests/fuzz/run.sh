#!/usr/bin/env bash
# Fuzzes what reads strangers' bytes: index files, recipes, lists and journals, videos, weights as
# safetensors and as PyTorch checkpoints, headers of feature stores.
#   tests/fuzz/run.sh [SECONDS]     in all, shared by the targets (default 600); 60 in CI
# Needs clang with libFuzzer. Findings are left in the build folder, whose path is printed. FFmpeg
# itself is not instrumented: a crash in it is seen, its paths are not followed.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
build=${JEPA_FUZZ_BUILD:-build-fuzz}
jobs=$(nproc)
targets=(index recipe list video safetensors torch store)
source experiments/packages.sh
install_packages "${build_packages[@]}" "${fuzz_packages[@]}" || exit 1
if ! command -v clang >/dev/null; then
    echo "no clang here: fuzzing skipped"
    exit 0
fi
mkdir -p "$build"
flags=(-std=gnu17 -D_GNU_SOURCE -DJEPA_VERSION=\"fuzz\" -I. -O1 -g -fno-omit-frame-pointer
    -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
    $(pkg-config --cflags libavformat libavcodec libavutil libswscale yaml-0.1 libsodium jansson))
libraries=($(pkg-config --libs libavformat libavcodec libavutil libswscale yaml-0.1 libsodium jansson)
    $(pkg-config --libs msgpack-c 2>/dev/null || pkg-config --libs msgpack) -lm -lpthread)
sources=(base/*.c masking/*.c $(ls video/*.c | grep -v absent) jepa/recipe*.c jepa/config.c jepa/schedule.c eval/store_header.c
    tests/fuzz/fuzz.c)
objects=()
for i in "${!sources[@]}"; do
    object="$build/${sources[$i]//\//_}.o"
    objects+=("$object")
    clang "${flags[@]}" -c "${sources[$i]}" -o "$object" &
    [ $((i % jobs)) -eq $((jobs - 1)) ] && wait
done
wait
failed=0
for target in "${targets[@]}"; do
    clang "${flags[@]}" -fsanitize=fuzzer "tests/fuzz/fuzz_$target.c" "${objects[@]}" \
        "${libraries[@]}" -o "$build/fuzz_$target"
    mkdir -p "$build/corpus_$target" "$build/found"
    each=$((seconds / ${#targets[@]}))
    log="$build/fuzz_$target.log"
    # 5 s for one input: the scan's own limit of time; 2 GiB of memory
    if ASAN_OPTIONS=allocator_may_return_null=1 "$build/fuzz_$target" -max_total_time=$each -timeout=30 \
        -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -artifact_prefix="$build/found/$target-" \
        "$build/corpus_$target" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        edges=$(grep -o "cov: [0-9]*" "$log" | tail -1)
        echo "$target: $runs inputs in $each s, $edges, nothing found"
    else
        echo "$target: FOUND something; the end of $log:"
        tail -40 "$log"
        failed=1
    fi
done
exit $failed

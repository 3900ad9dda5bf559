#!/usr/bin/env bash
# What only a GPU can show: kernels against the plain loops, the published reference values, the same bits
# run after run and after resuming, memory errors and races, the exchange between GPUs.
#   tests/gpu.sh BUILD [PART...]      parts, in this order when none is named, each under 8 minutes:
#       build      jepa, the tests and benchmarks into BUILD (CMAKE="-D..." for cmake's options)
#       kernels    every operation against the reference device (tests/kernels, on the GPU)
#       reference  jepa check-reference in float32 and bfloat16 (REFERENCE=DIR, default .gpu/reference or
#                  ../shared/reference)
#       bits       whole bfloat16 steps twice, once as CUDA graphs, once stopped and resumed: the same weights
#       sanitizer  compute-sanitizer: memory, races, barriers, memory that was never written
#       ranks      NCCL with one rank; with mpirun: 2 ranks that share the GPU, and the bits of one
#       video      with FFmpeg: the GPU decodes the same clips as the CPU (VIDEOS=DIR), and how fast
# On a machine without this distribution's packages: tests/gpu/carry.sh, and CMAKE="-C .gpu/carry.cmake".
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
shift
parts=${*:-build kernels reference bits sanitizer ranks video}
device=${DEVICE:-cuda:0}
reference=${REFERENCE:-}
for folder in .gpu/reference ../shared/reference; do
    [ -n "$reference" ] || [ ! -d $folder ] || reference=$folder
done
tests="operations unaligned gradients precision sigreg attention"
failed=0
check() { # NAME COMMAND...
    local name=$1 started=$SECONDS
    shift
    if "$@" >"$build/gpu.log" 2>&1; then
        echo "ok      $name ($((SECONDS - started)) s) $(tail -1 "$build/gpu.log" | cut -c1-90)"
    else
        echo "FAILED  $name"
        tail -30 "$build/gpu.log"
        failed=1
    fi
}
# The libraries that PyTorch brings do where the system has none.
python=$(command -v python3 || true)
if [ -n "$python" ]; then
    for name in cudnn nccl cublas; do
        folder=$("$python" -c "import nvidia.$name as m; print(list(m.__path__)[0])" 2>/dev/null || true)
        [ -z "$folder" ] || export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:$folder/lib
        [ -z "$folder" ] || eval "include_$name=$folder/include"
    done
    # pip's packages for CUDA 13 share one folder
    folder=$("$python" -c "import nvidia.cu13 as m; print(list(m.__path__)[0])" 2>/dev/null || true)
    [ -z "$folder" ] || export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:$folder/lib
fi

for part in $parts; do
    echo "== $part"
    case $part in
        build)
            mkdir -p "$build"
            hints=()
            [ -z "${include_cudnn:-}" ] || hints+=(-DCUDNN_INCLUDE_DIR="$include_cudnn")
            [ -z "${include_nccl:-}" ] || hints+=(-DNCCL_INCLUDE_DIR="$include_nccl")
            [ -f /usr/local/cuda/include/cudnn_graph.h ] && hints=()
            # shellcheck disable=SC2086
            check "cmake" cmake -S . -B "$build" -DJEPA_CUDA=ON -DJEPA_CUDA_ARCHITECTURES="${ARCHITECTURES:-90}" \
                "${hints[@]}" ${CMAKE:-}
            check "build" cmake --build "$build" -j "$(nproc)" --target jepa gpu_tests step_bench kernel_bench gpu_peak
            "$build/jepa" doctor | grep -A9 ^devices
            ;;
        kernels)
            for name in $tests; do check "$name" "$build/tests/cuda/gpu_kernels_$name"; done
            check "CUDA graphs" "$build/tests/cuda/gpu_test_graphs"
            check "FP8" "$build/tests/cuda/gpu_test_fp8"
            ;;
        reference)
            [ -n "$reference" ] || { echo "skipped: no reference values"; continue; }
            for folder in "$reference"/vjepa*; do
                for precision in float32 bfloat16; do
                    check "$(basename "$folder") in $precision" "$build/jepa" check-reference "$folder" --device "$device" \
                        --precision $precision
                done
            done
            ;;
        bits)
            small=(experiments/recipes/vjepa1-vitl16-224.yaml --set nodes=1 --set tasks_per_node=1 --set data.batch_size=4
                --set model.model_name=vit_base --set mask.batch=packed --set optimization.micro_batch=2 --device "$device")
            weights() { "$build/step_bench" "${small[@]}" "$@" | tee "$build/bits.log" | grep ^weights; }
            rm -rf "$build/bits"
            one=$(weights --warmup 1 --steps 5)
            grep ^step "$build/bits.log" | head -2
            check "run to run" test "$one" = "$(weights --warmup 1 --steps 5)"
            weights --warmup 1 --steps 2 --save "$build/bits" >/dev/null
            check "CUDA graphs" test "$one" = "$(weights --warmup 1 --steps 5 --set meta.cuda_graphs=true)"
            check "stopped and resumed" test "$one" = "$(weights --warmup 1 --steps 2 --from "$build/bits")"
            rm -rf "$build/bits"
            ;;
        sanitizer)
            sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
            [ -x "$sanitizer" ] || { echo "skipped: no compute-sanitizer"; continue; }
            for tool in memcheck racecheck synccheck initcheck; do
                for test in "unaligned " "operations layernorm" "operations rows" "operations adamw" "attention the_hidden_has_no_weight" \
                    "precision rope"; do
                    name=${test% *} filter=${test#* }
                    check "$tool $test" timeout 120 "$sanitizer" --tool $tool --error-exitcode 9 \
                        "$build/tests/cuda/gpu_kernels_$name" ${filter:+"$filter"}
                done
            done
            ;;
        ranks)
            check "NCCL, one rank" "$build/tests/cuda/gpu_test_nccl"
            if command -v mpirun >/dev/null && ldd "$build/jepa" | grep -q libmpi && [ -d "${VIDEOS:-../shared/videos}" ]; then
                export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
                run=(pretrain --data "${VIDEOS:-../shared/videos}" --device "$device" --set meta.dtype=bfloat16
                    --set data.batch_size=8 --set optimization.micro_batch=2 --set optimization.ipe=5
                    --set optimization.epochs=2)
                rm -rf "$build/ranks"
                check "one" "$build/jepa" "${run[@]}" --out "$build/ranks/one"
                check "two share the GPU" mpirun --oversubscribe -n 2 "$build/jepa" "${run[@]}" --out "$build/ranks/two"
                check "the same bytes" diff -r "$build/ranks/one/step-10" "$build/ranks/two/step-10"
            else
                echo "skipped: ranks over MPI (no mpirun, a build without it, or no videos)"
            fi
            ;;
        video)
            videos=${VIDEOS:-../shared/videos} clips=${CLIPS:-256}
            gpu=$("$build/jepa" doctor | grep "^decoding on GPU" || echo "none: built without FFmpeg")
            if [[ $gpu == *none:* ]] || [ ! -d "$videos" ]; then
                echo "skipped: ${gpu#decoding on GPU  }; videos in $videos"
                continue
            fi
            check "build" cmake --build "$build" -j "$(nproc)" --target video_bench
            one=$("$build/video_bench" hash "$videos" "$clips" "$(nproc)")
            check "the same clips" test "$one" = \
                "$("$build/video_bench" hash "$videos" "$clips" "$(nproc)" --decoder cuda 2>"$build/video.log")"
            cat "$build/video.log"
            grep -q "on the GPU 0," "$build/video.log" && { echo "FAILED  nothing was decoded on the GPU"; failed=1; }
            for workers in 1 8; do
                "$build/video_bench" loader "$videos" "$clips" "$workers"
                "$build/video_bench" loader "$videos" "$clips" "$workers" --decoder cuda
            done
            ;;
        *) echo "no such part: $part" >&2; exit 2 ;;
    esac
done
exit $failed

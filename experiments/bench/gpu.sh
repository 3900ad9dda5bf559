#!/usr/bin/env bash
# The GPU: every kernel against what the card does at most, and whole training steps against the same
# steps in PyTorch on the same card, in one run.
#
#   experiments/bench/gpu.sh BUILD [PYTHON]
#       BUILD    a build folder (cmake --build BUILD --target step_bench gpu_peak kernel_bench)
#       PYTHON   an interpreter with torch 2 for CUDA; none: without PyTorch
#   PARTS="kernels steps"
#       kernels: copy bandwidth and matmul rate of the card (gpu_peak), then every kernel as a share of
#                them at the sizes of ViT-L with 24 clips (kernel_bench)
#       steps:   the sizes below, every program in turn
#   SIZES="vitb16 vitl16 vitl16-packed vith16 vitg16"
#       16 x 224 x 224 clips and the masks of V-JEPA 1 (vitg16: 256 pixels, rotary positions, V-JEPA 2,
#       this program alone), 24 a step; with the published cut of each batch to its shortest sample, as
#       PyTorch's step needs it; packed: every token kept, by this program alone
#   PEERS="eager compile"     of PyTorch, bfloat16 autocast, fused AdamW, SDPA as it chooses
#   DEVICE=cuda:0 DTYPE=bfloat16 STEPS=20 WARMUP=5 SETS="key=value ..." ROWS=FILE
# All programs compute the same operations on the same clips and masks, from the same weights; first
# losses are shown. Clips travel from host memory in every step. Prints Markdown: a step's time (of
# STEPS that are queued without waiting), clips a second, model FLOP a second, MFU against the card's
# dense bfloat16 peak (PEAK_TFLOPS, default 989: H100, H200), device memory. Fits into 12 minutes.
set -euo pipefail
build=$1 python=${2:-}
parts=${PARTS:-kernels steps}
sizes=${SIZES:-vitb16 vitl16 vitl16-packed vith16 vitg16}
peers=${PEERS:-eager compile}
device=${DEVICE:-cuda:0} dtype=${DTYPE:-bfloat16} peak=${PEAK_TFLOPS:-989}
steps=${STEPS:-20} warmup=${WARMUP:-5}
sets=()
for set in ${SETS:-}; do sets+=(--set "$set"); done
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

date -u +"%Y-%m-%d %H:%M UTC"
"${build}/jepa" doctor | grep -E "^(cuda|jepa|$device)" || true
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit --format=csv,noheader 2>/dev/null || true

if [[ $parts == *kernels* ]]; then
    "$build/gpu_peak" "$device" | tee "$work/peak"
    echo
    "$build/kernel_bench" 0 "$work/peak" "$dtype" "$device" vitl 24
fi
if [[ $parts != *steps* ]]; then exit 0; fi

recipe() { # size: the recipe and what is changed in it, one argument a line
    case $1 in
        vitb16*) printf '%s\n' "$here/../recipes/vjepa1-vitl16-224.yaml" --set model.model_name=vit_base ;;
        vitl16*) printf '%s\n' "$here/../recipes/vjepa1-vitl16-224.yaml" ;;
        vith16*) printf '%s\n' "$here/../recipes/vjepa1-vith16-224.yaml" ;;
        vitg16*) printf '%s\n' "$here/../recipes/vjepa2-vitg16-256.yaml" ;;
    esac
    printf '%s\n' --set nodes=1 --set tasks_per_node=1 --set data.batch_size=24 --set "meta.dtype=$dtype"
    case $1 in *-packed) printf '%s\n' --set mask.batch=packed ;;
        *) printf '%s\n' --set mask.batch=truncate ;; esac
}
: >"$work/rows"
: >"$work/errors"
note() { if [ -n "$3" ]; then echo "$1 $2 ${3#result }" >>"$work/rows"; fi; }
for size in $sizes; do
    mapfile -t arguments < <(recipe "$size")
    run=("$build/step_bench" "${arguments[@]}" "${sets[@]}" --device "$device" --same-masks)
    "${run[@]}" --steps "$steps" --warmup "$warmup" >"$work/out" 2>>"$work/errors" ||
        echo "$size failed" >>"$work/errors"
    grep ^step "$work/out" >"$work/$size.steps" || true
    note "$size" jepa "$(grep ^result "$work/out" || true)"
    case $size in *-packed | vitg16*) continue ;; esac
    if [ -z "$python" ]; then continue; fi
    "${run[@]}" --steps 1 --warmup 0 --twin "$work/$size" >/dev/null 2>>"$work/errors" || continue
    for peer in $peers; do
        options=()
        case $peer in *compile*) options+=(--compile) ;; esac
        "$python" "$here/pytorch_twin.py" "$work/$size" --device cuda --dtype "$dtype" --steps "$steps" \
            --warmup "$warmup" --same-masks "${options[@]}" >"$work/out" 2>>"$work/errors" ||
            echo "$size $peer failed" >>"$work/errors"
        grep ^step "$work/out" >"$work/$size-$peer.steps" || true
        note "$size" "pytorch-$peer" "$(grep ^result "$work/out" || true)"
    done
    rm -rf "${work:?}/$size"
done
if [ -n "${ROWS:-}" ]; then cp "$work/rows" "$ROWS"; fi

printf '\n%d steps after %d of warm-up, %s, 24 clips a step\n\n' "$steps" "$warmup" "$dtype"
echo "| size | program | step, ms | clips/s | to jepa | TFLOP | TFLOP/s | MFU | MiB |"
echo "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
# rows: size program median min cpu mib tflop gflops
awk -v peak="$peak" '{ours[$1] = $2 == "jepa" ? $3 : ours[$1]
    printf "| %s | %s | %.1f | %.1f | %.2f | %.3f | %.0f | %.1f %% | %d |\n", $1, $2, $3, 24e3 / $3,
        $3 / ours[$1], $7, 1e3 * $7 / $3, 100e3 * $7 / $3 / peak, $6}' "$work/rows"
loss() { sed -n '1s/.*loss \([^,]*\),.*/\1/p' "$1"; }
for size in $sizes; do
    for peer in $peers; do
        if [ -s "$work/$size-$peer.steps" ]; then
            echo "first loss of $size: jepa $(loss "$work/$size.steps"), pytorch-$peer" \
                "$(loss "$work/$size-$peer.steps")"
        fi
    done
done
sort "$work/errors" | uniq -c | sort -rn | head -8

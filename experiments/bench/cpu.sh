#!/usr/bin/env bash
# Whole training steps on the CPU against the same steps in PyTorch, interleaved in one run, and what
# the machine can do at most.
#
#   experiments/bench/cpu.sh BUILD [PYTHON]
#       BUILD    a build folder (cmake --build BUILD --target step_bench peak_bench kernel_bench)
#       PYTHON   an interpreter with torch 2; none: without PyTorch
#   PARTS="peak kernels steps"
#       peak:    multiply-adds in registers by instruction set, memory (peak_bench)
#       kernels: every kernel against the peak (kernel_bench)
#       steps:   the sizes below, every program in turn, REPEATS times
#   SIZES="vits16 vits16-packed quickstart quickstart-packed"
#       vits16: vits16.yaml with the published cut to the shortest sample of a batch, as PyTorch's
#       step needs it; packed: every token kept, by this program alone
#   PEERS="eager eager-malloc compile bfloat16"
#       eager: float32; eager-malloc: large blocks are kept instead of given back to the system after
#       every operation; compile: torch.compile of the blocks, large blocks kept; bfloat16: autocast,
#       large blocks kept; compile-bfloat16: both
#   DTYPES="float32 bfloat16"   ours; the second where the processor has instructions for it
#   SETS="data.batch_size=2 ..."   further changes to the recipes
#   REPEATS=3 STEPS=2 WARMUP=1 THREADS=0 (all) ROWS=FILE (keeps every measurement)
# Every program computes the same operations on the same clips and masks, those of the first step in
# every step (--same-masks), from the same weights: the losses of PyTorch are ours to rounding, which
# shown. Prints Markdown: the median and the least time of a step, the least time relative to ours in
# float32, CPU seconds of all threads, operations, those a second at the least time and how much of
# the machine's float32 peak that is, the peak of resident memory. Variables that tell a BLAS which
# processor it is on are removed first. Where others use the machine as well medians are worth little:
# compare the least times and CPU seconds then.
set -euo pipefail
build=$1 python=${2:-}
parts=${PARTS:-peak kernels steps}
sizes=${SIZES:-vits16 vits16-packed quickstart quickstart-packed}
peers=${PEERS:-eager eager-malloc compile bfloat16}
dtypes=${DTYPES:-float32 bfloat16}
repeats=${REPEATS:-3} steps=${STEPS:-2} warmup=${WARMUP:-1} threads=${THREADS:-0}
sets=()
for set in ${SETS:-}; do sets+=(--set "$set"); done
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in $(env | sed -n 's/^\(\(OPENBLAS\|NVPL\|MKL\|BLIS\)_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done

date -u +"%Y-%m-%d %H:%M UTC"
grep -m1 -E "model name|CPU part" /proc/cpuinfo | sed 's/.*: //'
echo "$(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg) before the start"

# (a) the machine
"$build/peak_bench" "$threads" >"$work/peak"
if [[ $parts == *peak* ]]; then
    printf '\n| the machine | |\n| --- | --- |\n'
    sed -n 's/^peak \([^ ]*\) \(.*\)/| \1 | \2 |/p' "$work/peak"
fi
peak() { awk -v t="$1" '$1 == "best" && $2 == t {print $3}' "$work/peak"; }

# (b) every kernel
if [[ $parts == *kernels* ]]; then
    for dtype in $dtypes; do
        printf '\n'
        "$build/kernel_bench" "$threads" "$work/peak" "$dtype"
    done
fi

# (c) to (e) whole steps
recipe() {
    case $1 in
        vits16*) echo "$here/vits16.yaml" ;;
        *) echo "$here/../recipes/quickstart.yaml" ;;
    esac
}
batching() { case $1 in *-packed) echo packed ;; *) echo truncate ;; esac; }
note() { # size, program, result line
    if [ -n "$3" ]; then echo "$1 $2 ${3#result }" >>"$work/rows"; fi
}
ours() { # size, dtype, further options
    local size=$1 dtype=$2
    shift 2
    "$build/step_bench" "$(recipe "$size")" --set "mask.batch=$(batching "$size")" \
        --set "meta.dtype=$dtype" --steps "$steps" --warmup "$warmup" --threads "$threads" \
        --same-masks "${sets[@]}" "$@" >"$work/out" \
        2>>"$work/errors" || { echo "$size $dtype failed" >>"$work/errors"; return 0; }
    grep ^step "$work/out" >"$work/$size-$dtype.steps"
    note "$size" "ours-$dtype" "$(grep ^result "$work/out")"
}
twin() { # size, peer
    local size=$1 peer=$2 options=() keep=(env)
    # glibc: blocks of any size from the heap, which never shrinks
    if [ "$peer" != eager ]; then
        keep=(env MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=68719476736 MALLOC_TOP_PAD_=268435456)
    fi
    case $peer in *compile*) options+=(--compile) ;; esac
    case $peer in *bfloat16*) options+=(--dtype bfloat16) ;; esac
    if ((threads)); then options+=(--threads "$threads"); fi
    "${keep[@]}" "$python" "$here/pytorch_twin.py" "$work/$size" --steps "$steps" \
        --warmup "$warmup" --same-masks "${options[@]}" >"$work/out" 2>>"$work/errors" ||
        { echo "$size $peer failed" >>"$work/errors"; return 0; }
    grep ^step "$work/out" >"$work/$size-$peer.steps"
    note "$size" "pytorch-$peer" "$(grep ^result "$work/out")"
}

if [[ $parts != *steps* ]]; then exit 0; fi
: >"$work/rows"
: >"$work/errors"
for repeat in $(seq "$repeats"); do
    for size in $sizes; do
        for dtype in $dtypes; do
            if [ "$dtype" = float32 ] || [[ $(peak bfloat16) != 0.0 ]]; then ours "$size" "$dtype"; fi
        done
        if [ -z "$python" ] || [ "$(batching "$size")" = packed ]; then continue; fi
        if [ ! -d "$work/$size" ]; then # not timed: it writes files
            "$build/step_bench" "$(recipe "$size")" --set mask.batch=truncate \
                --set meta.dtype=float32 --steps "$steps" --warmup "$warmup" --threads "$threads" \
                --same-masks "${sets[@]}" --twin "$work/$size" >/dev/null 2>>"$work/errors"
        fi
        for peer in $peers; do twin "$size" "$peer"; done
    done
    echo "round $repeat of $repeats done" >&2
done
if [ -n "${ROWS:-}" ]; then cp "$work/rows" "$ROWS"; fi

printf '\n%d rounds of %d steps after %d of warm-up; load %s at the end\n\n' "$repeats" "$steps" \
    "$warmup" "$(cut -d' ' -f1 /proc/loadavg)"
echo "| size | program | step, ms | least | to ours | CPU s | TFLOP | GFLOP/s | of float32 peak | MiB |"
echo "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
# rows: size program median min cpu mib tflop gflops
sort -k1,1 -k2,2 -k3,3n "$work/rows" | awk -v peak="$(peak float32)" '
    {key = $1 " " $2
     if (!(key in count)) order[++keys] = key
     median[key, ++count[key]] = $3
     if (count[key] == 1 || $4 < least[key]) {least[key] = $4}
     if (count[key] == 1 || $5 < cpu[key]) cpu[key] = $5
     if ($6 > mib[key]) mib[key] = $6
     tflop[key] = $7}
    END {for (i = 1; i <= keys; i++) {
        k = order[i]; split(k, p, " "); n = count[k]
        m = (median[k, int((n + 1) / 2)] + median[k, int(n / 2) + 1]) / 2
        base = p[1] " ours-float32"
        rate = 1e6 * tflop[k] / least[k]
        ratio = base in least ? sprintf("%.2f", least[k] / least[base]) : ""
        printf "| %s | %s | %.0f | %.0f | %s | %.2f | %.4f | %.1f | %.0f %% | %d |\n", p[1], p[2],
            m, least[k], ratio, cpu[k], tflop[k], rate, 100 * rate / peak, mib[k]}}'

# The same work: losses of the first step.
loss() { sed -n '1s/.*loss \([^,]*\),.*/\1/p' "$1"; }
for size in $sizes; do
    for peer in $peers; do
        if [ -f "$work/$size-$peer.steps" ] && [ -f "$work/$size-float32.steps" ]; then
            echo "first loss of $size: ours $(loss "$work/$size-float32.steps"), pytorch-$peer" \
                "$(loss "$work/$size-$peer.steps")"
        fi
    done
done
sort "$work/errors" | uniq -c | sort -rn | head -8

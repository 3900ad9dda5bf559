#!/usr/bin/env bash
# data.decoder: cuda trains the same weights, bit for bit, on a machine without a GPU that decodes, and on
# one whose GPU fails at every clip (tests/video/driver).
#   tests/experiments/test_decoder.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
tiny=(--device cpu --set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4 --set data.batch_size=4
    --set model.embed_dim=16 --set model.depth=1 --set model.num_heads=1 --set model.pred_embed_dim=16
    --set model.pred_depth=1 --set model.pred_num_heads=1 --set optimization.ipe=2 --set optimization.epochs=1)
run synth --out videos --videos 8 --size 64 --frames 20
train() { # RUN options...
    local run=$1
    shift
    "$jepa" pretrain --data videos --out "$run" "${tiny[@]}" "$@" >/dev/null 2>"$run.err" || { fail "$run"; cat "$run.err"; }
}
same() { # RUN RUN
    for file in model.safetensors optimizer.safetensors; do
        cmp "$1/step-2/$file" "$2/step-2/$file" || fail "$1 and $2: $file"
    done
    cmp "$1/quarantine.csv" "$2/quarantine.csv" || fail "$1 and $2: quarantine"
}
count() { # WORDS FILE NUMBER
    [ "$(grep -c "$1" "$2")" = "$3" ] || { fail "$2: not $3 lines with \"$1\""; cat "$2"; }
}

train cpu
train cuda --set data.decoder=cuda
same cpu cuda
if "$jepa" doctor 2>/dev/null | grep -q "^decoding on GPU  none: "; then
    count "data.decoder: cuda: .*decoded on the CPU, to the same clips" cuda.err 1
    count "decoded on the GPU" cuda.err 0
else
    count "decoded on the GPU: " cuda.err 1
fi
driver=$(dirname "$jepa")/tests/driver
if [ -f "$driver/libcuda.so.1" ]; then
    export DRIVER_DEVICES=1
    LD_LIBRARY_PATH=$driver train failing --set data.decoder=cuda
    unset DRIVER_DEVICES
    same cpu failing
    count "not decoded on the GPU (" failing.err 1
    count "decoded on the GPU: 0 readings; on the CPU: 8, of them 0 while no place on the GPU was free, 8 after" failing.err 1
else
    echo "skipped: no stand-in for the driver"
fi
"$jepa" pretrain --data videos --out no "${tiny[@]}" --set data.decoder=cuda --set data.index_check=packets >said 2>&1 &&
    fail "an index of packets"
count "data.decoder: cuda needs data.index_check: decode" said 1
"$jepa" pretrain --data videos --out no "${tiny[@]}" --set data.decoder=vaapi >said 2>&1 && fail "another decoder"
count "cpu.*cuda" said 1
[ ! -e no ] || fail "a refused recipe leaves a folder"
finish

#!/usr/bin/env bash
# Micro-batches are the unit of arithmetic: the loss and the gradient of a step do not depend on them
# (nor do the masks), memory goes down with them, and for the same settings the bits are the same run
# after run, for any number of threads, and after a stop.
#   tests/experiments/test_micro_batch.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
# With an eps far above the gradients Adam's step is linear in them: without, a gradient near 0 would
# turn the last bit of a sum into a whole step.
tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4 --set data.batch_size=4
    --set model.embed_dim=16 --set model.depth=2 --set model.num_heads=1 --set model.pred_embed_dim=16
    --set model.pred_depth=2 --set model.pred_num_heads=1 --set model.drop_path_rate=0.2 --set loss.reg_coeff=0.1
    --set optimization.ipe=3 --set optimization.epochs=1 --set "checkpoint.every=1 steps" --set checkpoint.keep=5
    --set optimization.eps=1 --set optimization.start_lr=0.1 --set optimization.lr=0.1)
views=(--set objective=sigreg --set model.use_rope=true --set sigreg.local_crops_number=3 --set sigreg.local_size=16 --set sigreg.hidden_dim=32
    --set sigreg.output_dim=16 --set sigreg.num_proj=32 --set sigreg.token_drop_rate=0.5)
run synth --out videos --videos 12 --size 32 --frames 20
train() { # RUN options...
    local run=$1
    shift
    "$jepa" pretrain --data videos --out "$run" "${tiny[@]}" "$@" >/dev/null 2>"$run.err" || { fail "$run"; cat "$run.err"; }
}
planned() { sed -n 's/^memory plan: .*activations \([0-9.]*\), workspace.*/\1/p' "$1.err"; }
tensors() { # FILE.safetensors: its numbers, one a line
    od -An -v -tf4 -w4 -j $((8 + $(od -An -tu8 -N8 "$1"))) "$1"
}
# same RUN RUN: loss, gradient norms and token counts of all steps; the weights
same() {
    paste -d, <(cut -d, -f3,6,7,16,17 "$1/log.csv") <(cut -d, -f3,6,7,16,17 "$2/log.csv") | awk -F, '
        function far(a, b, by) {return (a > b ? a - b : b - a) > by * (a > 0 ? a : 1)}
        NR > 1 && (far($1, $6, 1e-6) || far($2, $7, 5e-6) || far($3, $8, 5e-6) || $4 != $9 || $5 != $10) {print; bad = 1}
        END {exit bad || NR != 4}' || fail "$1 and $2: loss, gradient or masks"
    paste <(tensors "$1/step-3/model.safetensors") <(tensors "$2/step-3/model.safetensors") \
        <(tensors "$1/step-1/model.safetensors") | awk '
        {d = $1 - $2; if (d < 0) d = -d; if (d > most) most = d
         m = $1 - $3; if (m < 0) m = -m; if (m > moved) moved = m}
        END {if (!(NR > 10000 && moved > 1e-3 && most < 1e-5)) {print NR, moved, most; exit 1}}' || fail "$1 and $2: weights"
}
bytes() { # RUN RUN
    for file in model.safetensors optimizer.safetensors; do
        cmp "$1/step-3/$file" "$2/step-3/$file" || fail "$1 and $2: $file"
    done
}

for kind in packed truncate sigreg; do
    own=(--set mask.batch=$kind)
    [ $kind = sigreg ] && own=("${views[@]}" --set loss.reg_coeff=0)
    train $kind-whole "${own[@]}" --set tasks_per_node=2
    for micro in 1 2 4; do
        train $kind-$micro "${own[@]}" --set tasks_per_node=2 --set optimization.micro_batch=$micro
        same $kind-whole $kind-$micro
    done
    bytes $kind-whole $kind-4
    for micro in 1 2; do
        train $kind-$micro-line "${own[@]}" --set tasks_per_node=2 --set optimization.micro_batch=$micro --set optimization.reduce_leaves=1
        same $kind-$micro $kind-$micro-line
        cmp -s $kind-$micro/step-3/optimizer.safetensors $kind-$micro-line/step-3/optimizer.safetensors &&
            fail "$kind: the leaves change nothing, not even the order"
    done
    awk -v a="$(planned $kind-1)" -v b="$(planned $kind-4)" 'BEGIN {exit !(b > 0 && a < 0.6 * b)}' ||
        fail "$kind: $(planned $kind-1) of $(planned $kind-4) MiB"
    for threads in 1 2 4; do
        train $kind-2-threads-$threads "${own[@]}" --set tasks_per_node=2 --set optimization.micro_batch=2 --threads $threads
        bytes $kind-2 $kind-2-threads-$threads
    done
    cp -r $kind-1 $kind-again && rm -rf $kind-again/step-[23]
    "$jepa" pretrain --resume --out $kind-again >/dev/null 2>said || { fail "$kind: resume"; cat said; }
    bytes $kind-1 $kind-again
done
"$jepa" pretrain --resume --out packed-again --data videos "${tiny[@]}" --set mask.batch=packed --set tasks_per_node=2 \
    --set optimization.micro_batch=2 >/dev/null 2>said && fail "resumed with another micro-batch"
grep -q "another recipe.*micro_batch: 1" said || { fail "another micro-batch: what it says"; cat said; }
finish

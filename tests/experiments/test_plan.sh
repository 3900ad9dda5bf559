#!/usr/bin/env bash
# jepa plan says what a run then takes, and what would fit where it does not.
#   tests/experiments/test_plan.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
recipes=$(realpath "$here/../../experiments/recipes")
run synth --out videos --videos 8 --size 32 --frames 20
small=(--set nodes=1 --set tasks_per_node=2 --set data.batch_size=4 --set data.patch_size=8 --set data.crop_size=32
    --set data.num_frames=4 --set model.model_name=null --set model.embed_dim=48 --set model.depth=4
    --set model.num_heads=4 --set optimization.ipe=1 --set optimization.epochs=1 --set optimization.warmup=0
    --set optimization.reduce_leaves=1) # buffers of sums, whole blocks, would weigh more than all else
views=(--set sigreg.local_crops_number=3 --set sigreg.local_size=16 --set sigreg.hidden_dim=32
    --set sigreg.output_dim=16 --set sigreg.num_proj=32)
for name in vjepa1-vitl16-224 levjepa-vitb16; do
    own=(--set model.pred_embed_dim=24 --set model.pred_depth=2 --set model.pred_num_heads=2)
    [ $name = levjepa-vitb16 ] && own+=("${views[@]}")
    for micro in 0 2; do
        all=(--recipe "$recipes/$name.yaml" "${small[@]}" "${own[@]}" --set optimization.micro_batch=$micro)
        "$jepa" plan "${all[@]}" >plan 2>said || { fail "$name: plan"; cat said; }
        "$jepa" pretrain --dry-run "${all[@]}" >dry 2>/dev/null
        cmp -s plan dry || fail "$name: plan and --dry-run"
        "$jepa" pretrain --data videos --out run-$name-$micro "${all[@]}" >/dev/null 2>said || { fail "$name"; cat said; }
        # the data are not the recipe's, the memory is: "kinds: total" and "total (kinds)"
        planned=$(sed -n 's/^memory  *\(.*\): \(.* MiB\)$/\2 (\1)/p' plan)
        grep -qF "memory plan: $planned" said || { fail "$name, $micro: not $planned"; grep "^memory plan" said; }
        grep -q "^operations .* FLOP a step" plan || fail "$name: operations"
        [ "$(sed -n '/^micro_batch  *MiB/,$p' plan | awk '{printf "%s ", $1}')" = "micro_batch 4 2 1 " ] || fail "$name: the table"
        [ $name = levjepa-vitb16 ] || # so small that the buffers of sums weigh more
            sed -n '/^micro_batch  *MiB/,$p' plan | awk 'NR > 2 && $2 >= last {exit 1} {last = $2}' || fail "$name: memory does not go down"
    done
done
# Operations of a known case: ViT-L/16, every token seen. Target encoder of one clip of 1,568 tokens:
# 24 blocks of 2·12·1024² each row and 4·1568² ·1024, and the patches 2·1536·1024 each row.
"$jepa" plan --recipe "$recipes/vjepa1-vitl16-224.yaml" --set nodes=1 --set tasks_per_node=1 --set data.batch_size=1 2>/dev/null >plan
awk '/^operations/ {expected = 24 * (1568 * 24 * 1024 * 1024 + 4 * 1568 * 1568 * 1024) + 1568 * 2 * 1536 * 1024
    got = $4 + 0; exit !(got > 0.99 * expected && got < 1.01 * expected)}' plan || { fail "operations"; cat plan; }
# A recipe for no machine: what would fit, or that nothing does.
"$jepa" pretrain --data videos --out never --recipe "$recipes/vjepa2-vitg16-384-cooldown.yaml" --set nodes=1 --set tasks_per_node=1 \
    --set optimization.is_anneal=false --set optimization.anneal_ckpt=null --set data.batch_size=128 >/dev/null 2>said
[ $? -eq 1 ] || fail "a recipe that does not fit: not exit code 1"
grep -q "optimization.micro_batch: [0-9]* needs [0-9]* MiB" said || { fail "a recipe that does not fit"; cat said; }
"$jepa" plan --set optimization.micro_batch=5 >/dev/null 2>said
[ $? -eq 2 ] || fail "a micro-batch that does not divide: not exit code 2"
finish

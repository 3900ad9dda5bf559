#!/usr/bin/env bash
# Every recipe is read, planned and run for three steps at reduced size on a few synthetic videos; runs
# of every kind go on after a stop with the same bytes; the teacher-free loss does not depend on how its
# batch is cut.
#   tests/experiments/test_recipes.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
recipes=$(realpath "$here/../../experiments/recipes")

"$jepa" synth --out videos --videos 16 --frames 40 --size 48 --seed 5 >said 2>&1 || { cat said; exit 1; }
mkdir pictures
first=$(find videos -name '*.mp4' | sort | head -1)
"$jepa" frames "$first" --indices 0,5,10,15,20,25 --out pictures >said 2>&1 || { cat said; exit 1; }

# Sizes that run in a moment: whatever the recipe, its own kind of network stays.
small=(--threads 2 --set nodes=1 --set tasks_per_node=1 --set data.batch_size=2 --set data.patch_size=8
    --set data.crop_size=32 --set model.model_name=null --set model.embed_dim=48 --set model.depth=4
    --set model.num_heads=4 --set model.pred_embed_dim=24 --set model.pred_depth=2 --set model.pred_num_heads=2
    --set optimization.ipe=3 --set optimization.epochs=1 --set optimization.warmup=0
    --set "checkpoint.every=1 steps" --set checkpoint.keep=5 --set data.num_workers=1)

# same_after_stop RUN: from step 1 on again, the last checkpoint has the same bytes.
same_after_stop() {
    cp -r "$1" "$1-again"
    rm -rf "$1-again"/step-[2-9]*
    "$jepa" pretrain --resume --out "$1-again" --threads 1 --workers 2 >said 2>&1 || { fail "$1: resume"; cat said; }
    for file in model.safetensors optimizer.safetensors; do
        cmp -s "$1/step-3/$file" "$1-again/step-3/$file" || fail "$1: another $file after a stop"
    done
}

# What is known of the published runs, against `planned`. Parameters of encoder and predictor, counted from
# the layers: ViT-L 303,885,312 and 22,086,016 (with V-JEPA 2's ten mask tokens of 384 channels), ViT-H
# 631,648,000 and 22,282,880, ViT-g 1,012,173,952 and 22,381,312; V-JEPA 1 has two mask tokens, 3,072 fewer.
planned_as_published() {
    local parameters='' step='' steps=''
    case $1 in
        vjepa1-vitl16-224) parameters=325968256 step="3072 clips" steps=90000 ;;
        vjepa1-vith16-224) parameters=653927808 step="3072 clips" steps=90000 ;;
        vjepa1-vith16-384) parameters=653927808 step="2400 clips" steps=90000 ;;
        vjepa2-vitl16-*) parameters=325971328 step="3072 clips" ;;&
        vjepa2-vith16-*) parameters=653930880 step="3072 clips" ;;&
        vjepa2-vitg16-*) parameters=1034555264 step="3072 clips" ;;&
        vjepa2-*-cooldown) steps=12000 ;;
        vjepa2-*) steps=240000 ;;
        vjepa2_1-*) step="3072 clips and 4608 pictures" steps=135000 ;;
        ijepa-*) step="2048 clips" ;;
        levjepa-vit[bs]16) step="3072 clips" steps=10000 ;;
    esac
    [ -z "$parameters" ] || grep -qx "parameters *$parameters" planned || fail "$1: not $parameters parameters"
    [ -z "$step" ] || grep -q "^step *$step;" planned || fail "$1: no step of $step"
    [ -z "$steps" ] || grep -qx "steps *$steps" planned || fail "$1: not $steps steps"
}

for recipe in "$recipes"/*.yaml; do
    name=$(basename "$recipe" .yaml)
    "$jepa" pretrain --dry-run --recipe "$recipe" >planned 2>said || { fail "$name: not planned"; cat said; continue; }
    grep -q "^memory .* MiB" planned || fail "$name: no plan of memory"
    planned_as_published "$name"
    data=videos own=()
    case $name in
        *ijepa*) data=pictures own=(--set data.batch_size=4 --set mask.min_keep=1) ;;
        *levjepa*) own=(--set sigreg.local_crops_number=3 --set sigreg.local_size=16 --set sigreg.hidden_dim=32
            --set sigreg.output_dim=16 --set sigreg.num_proj=32 --set data.num_frames=4) ;;
        *vjepa2_1*) own=(--set nodes=2 --set img_data.batch_size=3 --set img_data.crop_size=32
            --set img_data.datasets=pictures --set data.num_frames=4 --set loss.lambda_start=0 --set loss.lambda_end=2) ;;
        *) own=(--set data.num_frames=4) ;;
    esac
    case $name in *cooldown) continue ;; esac # after what they go on from
    "$jepa" pretrain --data "$data" --recipe "$recipe" --out "run-$name" "${small[@]}" "${own[@]}" >said 2>&1 ||
        { fail "$name"; cat said; continue; }
    [ "$(awk -F, 'NR > 1 && $3 > 0 && $3 < 100' "run-$name/log.csv" | wc -l)" -eq 3 ] || fail "$name: its losses"
done
for recipe in "$recipes"/*cooldown.yaml; do
    name=$(basename "$recipe" .yaml)
    from=run-$(sed 's/-[0-9]*-cooldown/-256/' <<<"$name")
    "$jepa" pretrain --data videos --recipe "$recipe" --cooldown "$from" --out "run-$name" "${small[@]}" \
        --set data.num_frames=8 --set data.crop_size=48 >said 2>&1 || { fail "$name"; cat said; continue; }
    grep -q "going on from $from after 3 updates" said || fail "$name: not gone on from"
done
for name in vjepa1-vitl16-224 vjepa2_1-vitl16 ijepa-vith14-224 vjepa2-vitl16-256-cooldown; do
    same_after_stop "run-$name"
done

# The released V-JEPA 2: three lists of one clip length, in shares; beside them a folder of pictures, as
# clips of one frame repeated. One length: one stream, one mask token.
find "$work/videos" -name '*.mp4' | sort | awk '{print $0, 0 > ("list-" NR % 3 ".csv")}'
"$jepa" pretrain --recipe "$recipes/vjepa2-vitl16-256.yaml" --out run-mix "${small[@]}" --set data.batch_size=8 \
    --set "data.datasets=[list-0.csv, list-1.csv, list-2.csv, pictures]" \
    --set "data.datasets_weights=[0.335, 0.1, 0.565, 0.333]" --set "data.dataset_fpcs=[8, 8, 8, 8]" \
    >said 2>&1 || { fail "three lists and pictures"; cat said; }
grep -q "^videos  *22, 0 in quarantine, 0 slots re-drawn" said || fail "three lists and pictures: not all of them"
same_after_stop run-mix

# Two clip lengths in one run, in shares of three to one, with a mask token each.
"$jepa" pretrain --recipe "$recipes/vjepa2-vitl16-256.yaml" --out run-lengths "${small[@]}" \
    --set "data.datasets=[videos, $work/videos]" --set "data.datasets_weights=[3, 1]" \
    --set "data.dataset_fpcs=[8, 4]" --set data.batch_size=4 --set tasks_per_node=2 --set mask.batch=packed \
    >said 2>&1 || { fail "two clip lengths"; cat said; }
same_after_stop run-lengths
grep -q "dataset_fpcs: \[8, 4\]" run-lengths/recipe.yaml || fail "two clip lengths: the recipe"

# Teacher-free: the batch whole, or cut in two.
sizes=(--set sigreg.local_crops_number=3 --set sigreg.local_size=16 --set sigreg.hidden_dim=32
    --set sigreg.output_dim=16 --set sigreg.num_proj=32 --set data.num_frames=4)
for groups in 1 2; do
    "$jepa" pretrain --data videos --recipe "$recipes/levjepa-vitb16.yaml" --out "run-groups-$groups" "${small[@]}" \
        "${sizes[@]}" --set tasks_per_node=$groups --set data.batch_size=$((4 / groups)) >said 2>&1 ||
        { fail "$groups groups"; cat said; }
done
same_after_stop run-groups-2
paste -d, <(cut -d, -f3,6 run-groups-1/log.csv) <(cut -d, -f3,6 run-groups-2/log.csv) | awk -F, '
    function far(a, b) {return (a > b ? a - b : b - a) > 2e-5 * (a > 0 ? a : 1)}
    # the loss of the first step is a sum in another order; later ones follow weights that Adam moved
    NR == 2 && (far($1, $3) || far($2, $4)) {print "FAILED: groups change the loss or the gradient: " $0; bad = 1}
    END {exit bad || NR != 4}' || failed=1
# The weights as well: with an eps far above the gradients Adam's step is linear in them, so that sums in
# another order (relative 1e-7 each) stay small; without, the sign of a gradient near 0 would be a step.
tensors() { # FILE.safetensors: its numbers, one a line
    od -An -v -tf4 -w4 -j $((8 + $(od -An -tu8 -N8 "$1"))) "$1"
}
for groups in 1 2; do
    "$jepa" pretrain --data videos --recipe "$recipes/levjepa-vitb16.yaml" --out "run-linear-$groups" "${small[@]}" \
        "${sizes[@]}" --set tasks_per_node=$groups --set data.batch_size=$((4 / groups)) \
        --set optimization.eps=1 --set optimization.start_lr=0.1 --set optimization.lr=0.1 >said 2>&1 ||
        { fail "$groups groups, linear"; cat said; }
    tensors "run-linear-$groups/step-3/model.safetensors" >"numbers-$groups"
done
tensors run-linear-1/step-1/model.safetensors | paste numbers-1 numbers-2 - | awk '
    {d = $1 - $2; if (d < 0) d = -d; if (d > most) most = d
     m = $1 - $3; if (m < 0) m = -m; if (m > moved) moved = m}
    END {if (!(NR > 10000 && moved > 1e-3 && most < 1e-5)) {
             print "FAILED: of " NR " weights, which move by up to " moved ", groups change one by " most; exit 1}}' ||
    failed=1
finish "$(ls -d run-* | wc -l) runs of $(ls "$recipes"/*.yaml | wc -l) recipes"

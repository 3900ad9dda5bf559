#!/usr/bin/env bash
# jepa export and jepa inspect of checkpoints: what comes out is what the run holds, bit for bit; what
# run not fit is refused by name; errors leave nothing behind.
#   tests/experiments/test_export.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
nothing_left() {
    [ -e out ] && { fail "something was left behind: $1"; rm -rf out; }
    find . -name '*.partial*' | grep -q . && fail "something half-written: $1"
}
after_refusal() {
    [ "$(wc -l <err.txt)" -eq 1 ] || { fail "not one line: jepa $1"; cat err.txt; }
    nothing_left "jepa $1"
}
# rows of jepa inspect --tensors as "name hash", sorted
rows() { "$jepa" inspect "$1" --tensors | awk '/^[a-z_.0-9]+ +F32 / {print $1, $NF}' | sort; }

tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4 --set data.batch_size=2
    --set model.embed_dim=32 --set model.depth=2 --set model.num_heads=1 --set model.pred_embed_dim=24
    --set model.pred_depth=1 --set model.pred_num_heads=1 --set model.mlp_ratio=3
    --set optimization.ipe=2 --set optimization.epochs=1 --set optimization.warmup=0)
run synth --out videos --videos 4 --size 48 --frames 20 --seed 2
run pretrain --data videos --out run "${tiny[@]}" --set model.use_rope=true --set 'optimization.ema=[0.5,0.5]'
run pretrain --data videos --out one "${tiny[@]}" --set model.use_rope=false

# what inspect says, against sums made here
D=32 L=2 H=96 P=8
encoder=$((D * 3 * 2 * P * P + D + L * (4 * D + 3 * D * D + 3 * D + D * D + D + 2 * D * H + H + D) + 2 * D))
Q=24 G=96 # the predictor's MLP is four times its width
predictor=$((Q * D + Q + Q + 4 * Q + 3 * Q * Q + 3 * Q + Q * Q + Q + 2 * Q * G + G + Q + 2 * Q + D * Q + D))
run inspect run
expect "^checkpoint  *run/step-2$"
expect "^family  *V-JEPA 2$"
expect "^input  *4 frames of 32 x 32, patches 2 x 8 x 8: 2 x 4 x 4 = 32 tokens"
expect "^positions  *rotary, tiled$"
expect "^encoder  *2 blocks of 32 channels, 1 heads, MLP 96: $encoder parameters"
expect "^target encoder .*: $encoder parameters; differs from the encoder by 0"
expect "^predictor .*1 mask token (1 used): $predictor parameters"
expect "^step  *2; 2 updates"
expect "^source  *trained here"
expect "^data  *videos; 1 group of 2 videos"
expect "^optimiser  *both moments"
expect "^hashes  *the header and all [0-9]* tensors are as they were written"
expect "^size  *$(cat run/step-2/* | wc -c) bytes"
run inspect run/step-2/ --whole-recipe
expect "^  embed_dim: 32"
run inspect one
expect "^family  *V-JEPA 1$"
expect "^positions  *sine-cosine"
run inspect videos
expect "^videos  *4 in 1 source"

# the published names: the same hashes as in the checkpoint, tensor by tensor
run export run --format safetensors --out all.safetensors
expect "every hash verified"
rows run | grep -v ^exp_avg >wanted.txt
rows all.safetensors >found.txt
[ "$(wc -l <wanted.txt)" -gt 60 ] || fail "too few tensors in the checkpoint"
cmp wanted.txt found.txt || fail "exported tensors differ"
run inspect all.safetensors
expect "V-JEPA 2: 2 blocks of 32 channels, 1 heads; positions rotary, tiled"
expect "^encoder  *28 tensors, $encoder values"
expect "family: V-JEPA 2"
expect "checkpoint_blake2b: [0-9a-f]\{64\}$"
expect "recipe_blake2b: [0-9a-f]\{64\}$"
for pair in encoder:encoder. target:target_encoder.; do
    run export run --format safetensors --network "${pair%%:*}" --out "${pair%%:*}.safetensors"
    sed -n "s/^${pair#*:}//p" wanted.txt | sort >bare.txt
    rows "${pair%%:*}.safetensors" >found.txt
    cmp bare.txt found.txt || fail "the ${pair%%:*} alone differs"
done
run export run/step-2 --format safetensors --out again.safetensors
cmp all.safetensors again.safetensors || fail "equal exports differ in bytes"

# Hugging Face: read back by jepa import, which joins q, k and v again
run export run --format hf --out hf
[ "$(ls hf | tr '\n' ' ')" = "config.json model.safetensors " ] || { fail "other files"; ls hf; }
run export run --format hf --network encoder --out hf-encoder/
for network in encoder target; do
    [ $network = target ] && folder=hf || folder=hf-encoder
    run import $folder --out back-$network
    prefix=$([ $network = target ] && echo target_encoder. || echo encoder.)
    { sed -n "s/^$prefix//p" wanted.txt; grep ^predictor wanted.txt; } | sort >bare.txt
    rows back-$network | grep -v ^target_ | sed 's/^encoder\.//' | sort >found.txt
    cmp bare.txt found.txt || fail "$folder: the way there and back changes tensors"
done
run inspect back-target
expect "imported from hf"
expect "equal to the encoder, bit for bit"
expect "^optimiser  *none"

refused 2 "sine-cosine" export one --format hf --out out
refused 2 "--format is missing" export run --out out
refused 2 "--format onnx: expected safetensors or hf" export run --format onnx --out out
refused 2 "--network both: expected encoder or target" export run --format hf --network both --out out
refused 2 "--out is missing" export run --format hf
refused 2 "is there already" export run --format hf --out hf
refused 2 "is there already" export run --format safetensors --out all.safetensors
refused 2 "expected one checkpoint" export --format hf --out out
refused 1 "no checkpoint in it" export videos --format hf --out out
refused 1 "cannot" export run --format hf --out /proc/nothing/here
refused 1 "cannot" export run --format safetensors --out nowhere/all.safetensors
refused 2 "give one at a time" inspect run one
refused 2 "are for a checkpoint" inspect videos --tensors
refused 2 "is a checkpoint" inspect run --set data.batch_size=3
refused 2 "holds no recipe" inspect all.safetensors --whole-recipe
# files that may not grow past 8 KiB: as a full disk
for format in hf safetensors; do
    (trap '' XFSZ && ulimit -f 8 && "$jepa" export run --format $format --out out >out.txt 2>err.txt)
    [ $? -eq 1 ] || fail "full disk ($format): not exit code 1"
    [ "$(wc -l <err.txt)" -eq 1 ] || { fail "full disk ($format): not one line"; cat err.txt; }
    nothing_left "full disk ($format)"
done
# a folder that someone else's stopped export, or someone, left: it is theirs
mkdir out.partial && touch out.partial/mine
"$jepa" export run --format hf --out out >out.txt 2>err.txt && fail "a folder in the way was taken"
grep -q "in the way" err.txt || cat err.txt
[ -e out.partial/mine ] || fail "a folder in the way was emptied"
rm -r out.partial

# damage: said by both, exported by neither
cp -r run damaged
printf 'x' | dd of=damaged/step-2/model.safetensors bs=1 seek=20000 conv=notrunc 2>dd.txt
refused 1 "damaged: the hash of" export damaged --format hf --out out
refused 1 "damaged: the hash of" export damaged --format safetensors --out out
refused 1 "damaged: the hash of" inspect damaged
expect "^hashes  *DAMAGED"
head -c 3000 all.safetensors >short.safetensors
refused 1 "short.safetensors" inspect short.safetensors
exit $failed

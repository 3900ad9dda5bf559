#!/usr/bin/env bash
# jepa features: stores of frozen features. The same command gives the same bytes, also after it was
# killed; a store of something else is refused by what differs; damage is found; exports hold what the
# store holds.
#   tests/experiments/test_features.sh JEPA
set -u
jepa=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0
fail() { echo "FAILED: $*"; failed=1; }
refused() { # exit code, part of the message, arguments of jepa features...
    local code=$1 message=$2
    shift 2
    "$jepa" features "$@" >out.txt 2>err.txt
    local got=$?
    [ $got -eq "$code" ] || fail "exit code $got, expected $code: jepa features $*"
    [ "$(grep -c '^jepa' err.txt)" -eq 1 ] || { fail "not one line of error: $*"; cat err.txt; }
    grep -q -- "^jepa features: .*$message" err.txt || { fail "no \"$message\": $*"; cat err.txt; }
}
does() { # arguments; what it says lies in out.txt
    "$jepa" "$@" >out.txt 2>err.txt || { fail "jepa $*"; cat err.txt; }
}
expect() { grep -q -- "$1" out.txt || { fail "no \"$1\""; cat out.txt; }; }
same() { # two stores, to the byte
    diff -r -q -x store.lock "$1" "$2" || fail "$1 and $2 differ"
}
bins() { cat "$1"/*.bin | cksum; } # the tensors, however they are cut into shards

tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4 --set data.batch_size=2
    --set model.embed_dim=32 --set model.depth=2 --set model.num_heads=1 --set model.pred_embed_dim=24
    --set model.pred_depth=1 --set model.pred_num_heads=1 --set model.mlp_ratio=3
    --set optimization.ipe=2 --set optimization.epochs=1 --set optimization.warmup=0)
does synth --out videos --videos 12 --size 48 --frames 20 --seed 2
does pretrain --data videos --out run "${tiny[@]}" --set model.use_rope=true --set 'optimization.ema=[0.5,0.5]'
of=(features --checkpoint run --data videos)

# the published setting 16x8x3: segments and crops
does "${of[@]}" --out whole --segments 8 --crops 3 --shard-clips 16
expect "^checkpoint  *run/step-2, step 2$"
expect "^encoder  *target, in float32$"
expect "^clips  *12 videos x 8 segments x 3 crops: 288 clips of 4 x 32 x 32$"
expect "^features  *2 x 4 x 4 tokens of 32 channels a clip, float16: 0.6 MB in all$"
expect "^store  *whole, 18 shards$"
[ "$(cat whole/*.bin | wc -c)" -eq $((288 * 32 * 32 * 2)) ] || fail "tensors of another size"
does "${of[@]}" --out whole/ --segments 8 --crops 3
expect "nothing to do"
does "${of[@]}" --out again --segments 8 --crops 3 --shard-clips 16 --threads 1
same whole again
does "${of[@]}" --out large --segments 8 --crops 3
expect "1 shard$"
[ "$(bins whole)" = "$(bins large)" ] || fail "the size of shards changes the tensors"

# killed, again and again, at moments that move through the run
kills=0
for i in $(seq 1 40); do
    "$jepa" "${of[@]}" --out killed --segments 8 --crops 3 --shard-clips 16 --threads 1 >out.txt 2>err.txt &
    pid=$!
    sleep "$(printf %d.%02d $((i * 7 / 100)) $((i * 7 % 100)))"
    if kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); fi
    wait $pid 2>/dev/null
    [ -e killed/store.msgpack ] && break
    [ -e killed/store.lock ] && refused 1 "is not complete" --verify killed
done
echo "$kills kills, then complete"
rm -f killed/*.partial
same whole killed

# what differs is named; nothing is touched
cksum whole/* >before.txt
refused 2 "whole holds other features, --segments: 8 there, 2 now" --checkpoint run --data videos --out whole --crops 3
refused 2 "whole holds other features, --crops: 3 there, 1 now" --checkpoint run --data videos --out whole --segments 8
on=(--checkpoint run --data videos --out whole --segments 8 --crops 3)
refused 2 "--network: target there, context now" "${on[@]}" --network context
refused 2 "--layers: the last there, 0,1 now" "${on[@]}" --layers 0,1
refused 2 "--pooled: tokens there, pooled now" "${on[@]}" --pooled
refused 2 "--type: float16 there, bfloat16 now" "${on[@]}" --type bfloat16
refused 2 "the weights: run/step-2, step 2, hash .* there, random initialisation, seed 3, hash .* now" "${on[@]}" --random-init 3
refused 2 "clips: 4 x 32 x 32 there, 4 x 48 x 48 now" "${on[@]}" --set data.crop_size=48
refused 2 "frames and crops of the clips" "${on[@]}" --frame-step 3
refused 2 "frames and crops of the clips" "${on[@]}" --fps 5
refused 2 "the recipe (--set)" "${on[@]}" --set data.hdr=refuse
cp -r videos fewer && rm "$(find fewer -name '*.mp4' | sort | tail -n 1)"
refused 2 "the videos" --checkpoint run --data fewer --out whole --segments 8 --crops 3
rm -r killed && cp -r whole killed && rm killed/store.msgpack # begun
refused 2 "killed holds other features, --type" "${on[@]/#whole/killed}" --type bfloat16
refused 2 "videos is not empty and no feature store" --checkpoint run --data videos --out videos
refused 2 "run is not empty and no feature store" --checkpoint run --data videos --out run
cksum whole/* | cmp - before.txt || fail "a refused store was changed"
refused 2 "killed was begun with shards of 16 clips, not 24" "${on[@]/#whole/killed}" --shard-clips 24
flock killed/store.lock sleep 2 &
sleep 0.5
refused 1 "store.lock is held by" "${on[@]/#whole/killed}"
wait

# other encoders, layers and numbers
does "${of[@]}" --out context --network context
does "${of[@]}" --out target
[ "$(bins context)" = "$(bins target)" ] && fail "the context encoder says what the target says"
does "${of[@]}" --out both --layers 0,1
expect "^encoder  *target, after blocks 0,1, in float32$"
expect "2 x 4 x 4 tokens of 64 channels"
does "${of[@]}" --out pooled --pooled --type bfloat16
expect "the mean of 2 x 4 x 4 tokens of 32 channels a clip, bfloat16"
does "${of[@]}" --out random --random-init 0
expect "^checkpoint  *random initialisation, seed 0$"
[ "$(bins random)" = "$(bins target)" ] && fail "random weights say what trained ones say"
does features --checkpoint run/step-2 --data videos --out slow --fps 5
[ "$(bins slow)" = "$(bins target)" ] && fail "other frames give the same features"
does features --checkpoint run/step-2/model.safetensors --data videos --out file
expect "^checkpoint  *run/step-2, step 2$"
same file target
refused 1 "cannot read the run run/step-2/nothing" --checkpoint run/step-2/nothing --data videos --out no

# published weights give what the checkpoint gives that they come from
does export run --format hf --out hf
does features --checkpoint hf --data videos --out published --frame-step 4
expect "^checkpoint  *hf$"
does features --checkpoint run --data videos --out own --frame-step 4
[ "$(bins published)" = "$(bins own)" ] || fail "published weights give other features"
does export run --format safetensors --out weights.safetensors
refused 2 "give --heads" --checkpoint weights.safetensors --data videos --out never

# every store is sound, until a byte changes
for store in whole target both pooled published; do
    does features --verify $store
    expect "every hash is right"
done
cp -r target bad
printf x | dd of=bad/shard-00000.bin bs=1 seek=4097 conv=notrunc 2>/dev/null
refused 1 "bad/shard-00000.bin is damaged: the bytes of clip 2 in it" --verify bad
truncate -s -2 bad/shard-00000.bin
refused 1 "bad/shard-00000.bin is damaged: it has" --export bad --npy never
refused 1 "no feature store" --verify videos
refused 1 "no feature store" --verify nothing

# a video whose packets are whole, but not its pictures
damaged=$here/../../../shared/videos/damaged/hevc_zero10pct.mp4
if [ -f "$damaged" ]; then
    cp -r videos mixed && cp "$damaged" mixed/vanish/
    does features --checkpoint run --data mixed --out mixed-store --set data.index_check=packets --segments 8
    expect "1 of 13 videos have no features"
    [ "$(grep -c "left out: .*hevc_zero10pct" err.txt)" -eq 1 ] || { fail "not named once"; cat err.txt; }
    does features --verify mixed-store
    expect "1 of 13 videos have no features"
    does features --export mixed-store --npy mixed-npy
    expect "^left out  *1 videos"
fi

# exports
does features --export target --npy npy
expect "^written  *npy: float16 \[24 x 32 x 32\], labels, names; a row is a clip"
does features --export pooled --npy npy-pooled/
expect "npy-pooled/: float32 \[12 x 32\]"
does features --export target --safetensors f.safetensors
does inspect f.safetensors --tensors
expect "^features *F16 .*24.*32.*32"
refused 2 "is there already" --export target --npy npy
refused 2 "is there already" --export target --safetensors f.safetensors
if python3 -c "import numpy" 2>/dev/null; then
    python3 - <<'PYTHON' || fail "NumPy reads something else"
import json, numpy
a, l = numpy.load("npy/features.npy", mmap_mode="r"), numpy.load("npy/labels.npy")
store = numpy.fromfile("target/shard-00000.bin", "<f2").reshape(24, 32, 32)
assert a.dtype == numpy.float16 and (a == store).all()
about = json.load(open("npy/videos.json"))
assert l.shape == (24,) and len(about["names"]) == 12 and about["left_out"] == []
assert [about["class_names"][i] for i in l[::2]] == [n.split("/")[0] for n in about["names"]]
p = numpy.load("npy-pooled/features.npy")
assert p.dtype == numpy.float32 and p.shape == (12, 32)
mean = store.astype(numpy.float64).reshape(12, 2 * 32, 32).mean(1)
assert abs(p - mean).max() < 2.0 ** -7 * abs(store).max()  # bfloat16 against float16
PYTHON
else
    echo "no NumPy here: what it reads is not tried"
fi
# a full disk: one line, nothing half-written under a final name; then it goes on
(trap '' XFSZ && ulimit -f 16 && "$jepa" "${of[@]}" --out full --segments 8 --crops 3 >out.txt 2>err.txt)
[ $? -eq 1 ] && [ "$(grep -c '^jepa features: cannot write full/' err.txt)" -eq 1 ] || { fail "full disk"; cat err.txt; }
ls full | grep -v store.lock && fail "a full disk left something"
does "${of[@]}" --out full --segments 8 --crops 3
same full large

refused 2 "give --checkpoint, --data and --out; or" --npy x
refused 2 "give --checkpoint, --data and --out; or" --verify whole --export whole
refused 2 "go with --export" --verify whole --npy x
refused 2 "one of them" --export whole
refused 2 "are needed" --checkpoint run --data videos
refused 2 "--checkpoint is missing" --data videos --out x
refused 2 "--type float8" --checkpoint run --data videos --out x --type float8
refused 2 "--segments: expected 1 to 64" --checkpoint run --data videos --out x --segments 0
refused 2 "expected target or context" --checkpoint run --data videos --out x --network both
refused 2 "--frame-step and --fps" --checkpoint run --data videos --out x --frame-step 2 --fps 3
refused 2 "--layers 5" --checkpoint run --data videos --out x --layers 5
refused 2 "unknown option" --segment 3
[ -e x ] && fail "a refused command made its folder"
exit $failed

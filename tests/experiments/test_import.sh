#!/usr/bin/env bash
# jepa import: what it says, and that bad files and options give one clear line and leave nothing behind.
# Bits are compared in test_import_bits.c.
#   tests/experiments/test_import.sh JEPA
set -u
reference=$(realpath "$(dirname "$0")/../..")/../shared/reference
if [ ! -d "$reference/vjepa1_tiny" ]; then
    echo "skipped: no reference values beside this checkout"
    exit 0
fi
source "$(dirname "$0")/program.sh"
after_refusal() {
    [ "$(wc -l <err.txt)" -eq 1 ] || { fail "not one line: jepa $1"; cat err.txt; }
    [ -e out ] && { fail "something was left behind: jepa $1"; rm -rf out; }
}

run import "$reference/vjepa1_tiny/checkpoint.pth.tar" --out one
expect "family  *V-JEPA 1"
expect "sine-cosine; the table in the file is ours"
expect "8 frames of 64 x 64 (from the position table)"
expect "not used .*epoch, loss"
expect "one/step-0"
run import "$reference/vjepa2_tiny/checkpoint.pt" --out two
expect "family  *V-JEPA 2"
expect "rotary, tiled"
"$jepa" import --help | grep -q "usage: jepa import FILE --out CHECKPOINT" || fail "help"
"$jepa" help | grep -q "^  import " || fail "import is not among the commands"

mkdir 1 2 && cp "$reference"/vjepa1_tiny/checkpoint.pth.tar 1/ && cp "$reference"/vjepa2_tiny/checkpoint.pt 2/ && chmod -R u+w 1 2
refused 2 "give --heads N" import 1/checkpoint.pth.tar --out out
refused 2 "num_heads 5 does not divide" import 1/checkpoint.pth.tar --out out --heads 5 --pred-heads 3
refused 2 "is no vit_tiny: it has 96 channels" import 1/checkpoint.pth.tar --out out --name vit_tiny
refused 2 "there is no \"vit_tny\", did you mean vit_tiny" import 1/checkpoint.pth.tar --out out --name vit_tny
refused 1 "no grid of" import 1/checkpoint.pth.tar --out out --heads 3 --frames 6
refused 2 "give --pred-heads N" import 2/checkpoint.pt --out out --heads 3 --pred-heads 7
refused 2 "expected target or encoder" import 2/checkpoint.pt --out out --network both
refused 2 "expected sincos, tiled or standard" import 2/checkpoint.pt --out out --positions learnt
refused 2 "--out is missing" import 2/checkpoint.pt
refused 2 "expected one file" import --out out
refused 2 "--heads and --pred-heads" import 2/checkpoint.pt --out out --heads 1000
refused 1 "no such file" import nowhere.pt --out out
refused 1 "expected model.safetensors" import 1 --out out
refused 2 "is a checkpoint of this program already" import one/step-0 --out out
refused 2 "is there already" import 1/checkpoint.pth.tar --out two
refused 1 "cannot" import 1/checkpoint.pth.tar --out /proc/nothing --heads 3

# the same from config.json; and numbers in it that cannot be
printf '{"heads": 3, "frames": 8, "crop": 64}' >1/config.json
run import 1/checkpoint.pth.tar --out three
expect "3 heads (config.json)"
cmp -s one/step-0/model.safetensors three/step-0/model.safetensors || fail "the same weights, other bytes"
for config in '{"heads": 1e99}' '{"heads": -3}' '{"heads": 3000000000}' '{"heads": "3"}'; do
    printf '%s' "$config" >1/config.json
    refused 1 "config.json: heads: expected a whole number from 1 to 128" import 1/checkpoint.pth.tar --out out
done
printf '{"dim": 97, "heads": 3}' >1/config.json
refused 1 "config.json speaks of 97 channels" import 1/checkpoint.pth.tar --out out
printf '{"heads": 3' >1/config.json
refused 1 "config.json:1: " import 1/checkpoint.pth.tar --out out
rm 1/config.json

# cut short, at sixteen places each
for file in vjepa1_tiny/checkpoint.pth.tar vjepa2_tiny/weights.safetensors; do
    size=$(stat -c %s "$reference/$file")
    for i in $(seq 0 15); do
        head -c $((size * i / 16)) "$reference/$file" >cut.pt
        refused 1 "cut.pt" import cut.pt --out out --heads 3
    done
done
# an index that points outside its folder
mkdir hf && cp "$reference/vjepa2_tiny/weights.safetensors" outside.safetensors
printf '{"weight_map": {"encoder.norm.weight": "../outside.safetensors"}}' >hf/model.safetensors.index.json
refused 1 "in the same folder" import hf --out out

# probes: one, or several
refused 1 "no encoder, target_encoder or classifier" import "$reference/attentive_probe_tiny/probe.safetensors" --out out
exit $failed

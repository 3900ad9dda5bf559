#!/usr/bin/env bash
# jepa bank, jepa decoder train, jepa visualize --parts expected: the same bytes again and for any number
# of threads; the pictures and films that are promised; banks and decoders of something else, damage and
# wrong arguments are refused in a line. Videos are made by: jepa synth --out DIR.
#   tests/experiments/test_bank.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
source "$here/small_run.sh"
same() { # two folders with the same files
    diff -r "$1" "$2" >/dev/null || fail "$1 and $2 are not the same"
}
run pretrain --data videos --out other --set meta.seed=5 "${small[@]}"

# ---- the bank ----
run bank --checkpoint run --data videos --out bank --tokens 300 --threads 2
expect "^patches *300 of 2 frames x 8 x 8 pixels"
run bank --checkpoint run --data videos --out again --tokens 300 --threads 1
same bank again
run bank --checkpoint run --data videos --out bank --tokens 300
expect "nothing to do"
run bank --checkpoint run --data videos --out seeded --tokens 300 --seed 1
cmp -s bank/places.bin seeded/places.bin && fail "another seed draws the same tokens"
refused 2 "holds a bank of another checkpoint" bank --checkpoint other --data videos --out bank --tokens 300
refused 2 "holds a bank of other --tokens" bank --checkpoint run --data videos --out bank --tokens 299
refused 2 "holds a bank of other videos" bank --checkpoint run --data "$video" --out bank --tokens 300
refused 2 "is no bank" bank --checkpoint run --data videos --out videos
refused 2 "tokens 0" bank --checkpoint run --data videos --out new --tokens 0
refused 2 "are needed" bank --checkpoint run --out new
[ ! -e new ] || fail "a refused bank left something"
# few patches: of some videos only; copies are no videos of their own
run bank --checkpoint run --data videos --out few --tokens 3
expect "^videos *3 of 8, at most 4 clips each"
cp -r videos copies
for i in 1 2 3; do cp "$video" copies/"$(basename "$(dirname "$video")")"/copy$i.mp4; done
run bank --checkpoint run --data copies --out copied --tokens 300
expect "^videos *8 of 11, at most 4 clips each"

# an --out that cannot be is said before the checkpoint is so much as looked for
impossible() { # what it says of something that is there, command and arguments...
    local there=$1 begun=left.partial
    shift
    printf x >file
    mkdir -p folder left.partial
    refused 2 "$there" "$@" --checkpoint nowhere --data videos --out file
    refused 2 "$there" "$@" --checkpoint nowhere --data videos --out folder
    refused 2 "file is a file" "$@" --checkpoint nowhere --data videos --out file/new
    refused 1 "left by a program that was stopped" "$@" --checkpoint nowhere --data videos --out left
    rm -r file folder left.partial
}
impossible "is no bank" bank
impossible "is there already" decoder train

# ---- the decoder ----
train=(decoder train --checkpoint run --data videos --tokens 600 --steps 30)
run "${train[@]}" --out decoder --threads 2
expect "^  mean colour .* explained  0.000"
expect "^  decoder .* explained"
run "${train[@]}" --out decoder1 --threads 1
same decoder decoder1
run "${train[@]}" --out linear --hidden 0
expect "linear, "
refused 2 "is there already" "${train[@]}" --out decoder
run decoder train --checkpoint run --data copies --tokens 600 --steps 5 --out copied-decoder
expect "of 7 videos to train on, .* of 1 others held out"
b2sum --version >/dev/null 2>&1 && { (cd decoder && b2sum -l 256 --status -c decoder.b2sum) || fail "decoder.b2sum"; }
refused 2 "two or more" decoder train --checkpoint run --data "$video" --out new --steps 5
refused 2 "expected jepa decoder train" decoder --checkpoint run --data videos --out new
refused 2 "expected jepa decoder train" decoder learn --checkpoint run --data videos --out new
refused 2 "steps" "${train[@]}" --steps 0 --out new
[ ! -e new ] || fail "a refused decoder left something"

# ---- pictures and films ----
show=(visualize --checkpoint run --video "$video" --parts expected)
run "${show[@]}" --bank bank --decoder decoder --format png,gif --tile 32 --out one
there one expected.png expected.gif
[ "$(find one -type f | wc -l)" -eq 2 ] || fail "more files than were promised"
run "${show[@]}" --bank bank --decoder decoder --format png,gif --tile 32 --out two --threads 1
same one two
run "${show[@]}" --bank bank --mask 1 --out three
expect "^   1 .* - (        -)$"
run "${show[@]}" --decoder linear --out four
[ -s four/expected.png ] || fail "no four/expected.png"
run visualize --checkpoint run --video videos --videos 2 --parts latents,expected --bank bank --out five
[ "$(find five -name expected.png | wc -l)" -eq 2 ] && [ -s five/axes.safetensors ] || fail "two videos"

# along the future: window after window, beside what it shows without them
future=(visualize --checkpoint run --video "$video" --parts future --bank bank --decoder decoder --tile 32)
run "${future[@]}" --format png,gif --out seven
there seven future.png future.gif future-expected.png future-expected.gif
expect "^future, as pixels  *[2-9][0-9]* windows, root mean square error: nearest visible .*, nearest real patch .* (of target .*), decoder .* (of target .*)$"
run "${future[@]}" --format png,gif --out eight --threads 1
same seven eight
run visualize --checkpoint run --video "$video" --parts future --tile 32 --format png,gif --out nine
cmp seven/future.gif nine/future.gif || fail "bank and decoder change the rest"
[ ! -e nine/future-expected.png ] || fail "pixels of nothing"
run bank --checkpoint run --data "$video" --out alone --tokens 50
refused 2 "this very video" visualize --checkpoint run --video "$video" --parts future --bank alone --format gif --out empty
[ -z "$(find empty -name 'future*' 2>/dev/null)" ] || { fail "a refused future left files"; find empty; }

# of the 8 videos the decoder was trained on 7, and says so of each
run visualize --checkpoint run --video videos --videos 8 --parts expected --decoder decoder --out six
[ "$(grep -c "^video  " out.txt)" -eq 8 ] || { fail "not 8 videos"; cat out.txt; }
[ "$(grep -c "^decoder  *was trained on this video too$" out.txt)" -eq 7 ] || { fail "not 7 videos trained on"; cat out.txt; }

refused 2 "is needed, or both" "${show[@]}" --out new
refused 2 "for --parts expected and future" visualize --checkpoint run --video "$video" --bank bank --out new
refused 2 "of another checkpoint" visualize --checkpoint other --video "$video" --parts expected --bank bank --out new
refused 2 "of another checkpoint" visualize --checkpoint other --video "$video" --parts expected --decoder decoder --out new
refused 2 "another recipe" "${show[@]}" --bank bank --set data.sampling_rate=1 --out new
refused 2 "is no bank" "${show[@]}" --bank decoder --out new
refused 2 "is no decoder" "${show[@]}" --decoder bank --out new
refused 2 "this very video" "${show[@]}" --bank alone --out empty
printf x | dd of=decoder1/decoder.safetensors bs=1 seek=3000 conv=notrunc 2>/dev/null
refused 1 "is damaged" "${show[@]}" --decoder decoder1 --out new
printf x | dd of=again/latents.bin bs=1 seek=3000 conv=notrunc 2>/dev/null
refused 1 "is damaged" "${show[@]}" --bank again --out new
sed -i 's/"steps": 30/"steps": 31/' linear/decoder.json
refused 1 "linear is damaged" "${show[@]}" --decoder linear --out new
[ ! -e new ] || fail "refused pictures left something"

# ---- a checkpoint without predictor ----
run pretrain --data videos --out sigreg "${small[@]}" --set objective=sigreg --set model.use_rope=true \
    --set sigreg.local_crops_number=1 --set sigreg.local_size=16 --set sigreg.hidden_dim=32 \
    --set sigreg.output_dim=16 --set sigreg.num_proj=32
refused 2 "has no predictor" bank --checkpoint sigreg --data videos --out new
finish "banks, decoders and what they show: as promised"

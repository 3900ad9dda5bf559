#!/usr/bin/env bash
# jepa probe from end to end: which files it writes, that nothing is chosen by the test set unless that
# is said everywhere, that a trained probe says the same again and refuses another encoder, and one
# clear line for each wrong argument.
#   tests/experiments/test_probe.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
surveillance=$(realpath "$here/../../..")/shared/videos/surveillance
tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=8 --set data.batch_size=4
    --set model.embed_dim=24 --set model.depth=3 --set model.num_heads=2 --set model.pred_embed_dim=24
    --set model.pred_depth=1 --set model.pred_num_heads=2 --set optimization.ipe=3 --set optimization.epochs=1)

run synth --out videos --videos 64 --size 32 --frames 24 --seed 5
run pretrain --data videos --out run "${tiny[@]}"
common=(probe --checkpoint run --data videos)

# ---- as it comes ----
run "${common[@]}"
for line in "^split  *48 videos train, 16 test" "^top-1, 16 test videos *kNN *linear$" "^this encoder .*%.*%" \
    "^random initialisation .*%.*%" "^raw pixels .*%.*%" "^majority class  *12.5 %" "^chosen .*on training videos"; do
    expect "$line"
done
for file in results.csv results.json by_class.csv settings.csv predictions.csv split.csv manifest.json \
    confusion.png confusion-knn.png linear/trained.json linear/head/probe.safetensors; do
    [ -s "run/probe/$file" ] || fail "no $file"
done
[ "$(wc -l <run/probe/results.csv)" -eq 8 ] || fail "results.csv: two probes on three sources, and the majority class"
[ "$(wc -l <run/probe/by_class.csv)" -eq 57 ] || fail "by_class.csv: eight classes of each row"
[ "$(wc -l <run/probe/predictions.csv)" -eq 17 ] || fail "predictions.csv: a line for every test video"
grep -rq "test set\|selected on test" run/probe/*.csv run/probe/results.json run/probe/linear/trained.json out.txt &&
    fail "something was selected on the test set"
grep -q '"select_on_test": false' run/probe/manifest.json || fail "the manifest does not say how settings were chosen"
for key in checkpoint_blake2b_256 recipe_blake2b_256 split_blake2b_256; do
    grep -qE "\"$key\": \"[0-9a-f]{64}\"" run/probe/manifest.json || fail "no $key in the manifest"
done
grep -q '"version"' run/probe/manifest.json && grep -q '"--checkpoint"' run/probe/manifest.json || fail "version, command"

# the same again, on one thread, elsewhere
run "${common[@]}" --threads 1 --out again
cmp -s run/probe/results.csv again/results.csv || fail "threads change results.csv"
cmp -s run/probe/linear/head/probe.safetensors again/linear/head/probe.safetensors || fail "threads change the probe"
# another study in the same folder leaves nothing of the one before
run "${common[@]}" --out again --probes linear --low-shot 1,25 --seeds 2
[ -e again/confusion-knn.png ] && fail "a picture of another study is left"
expect "low-shot, 2 draws"
[ "$(wc -l <again/low_shot.csv)" -eq 7 ] || fail "low_shot.csv: two shares of three sources"
grep -q '^"linear","this encoder",1,8,' again/low_shot.csv || fail "at least one label of each class"

# ---- selected on test: said in everything ----
run "${common[@]}" --out ontest --select-on-test --probes knn,linear
expect "^selected on test"
for file in results.csv results.json settings.csv linear/trained.json; do
    grep -q "test set" ontest/$file || fail "$file does not say that it was selected on test"
done
grep -q '"linear (selected on test)"' ontest/predictions.csv || fail "predictions.csv does not say it"
grep -q '"select_on_test": true' ontest/manifest.json || fail "the manifest does not say it"

# ---- attentive, and stores ----
attentive=("${common[@]}" --probes linear,attentive --epochs 2 --lr 1e-3,1e-2 --weight-decay 0.1 --crops 2)
run "${attentive[@]}" --out att
expect "^top-1, 16 test videos *linear *attentive$"
grep -q '^"attentive","this encoder",.*"depth 1, lr 0.0.*","a held-out part of the training set"$' att/results.csv ||
    fail "the attentive probe's row"
[ "$(grep -c '^"attentive","random initialisation","depth' att/settings.csv)" -eq 2 ] || fail "both settings of the grid"
grep -q '"folder": "att/features/random"' att/manifest.json || fail "stores in the manifest"
before=$(stat -c %Y.%s att/features/encoder/shard-00000.bin)
cp att/results.csv first.csv
run "${attentive[@]}" --out att
cmp -s first.csv att/results.csv || fail "another result from a kept store"
[ "$before" = "$(stat -c %Y.%s att/features/encoder/shard-00000.bin)" ] || fail "a kept store was written again"
refused 2 "holds other features" "${attentive[@]}" --out att --segments 1
run "${common[@]}" --probes attentive --depth 2 --epochs 1 --lr 1e-3 --augment --out deep
grep -q '"depth 2, lr 0.001' deep/results.csv || fail "depth 2, on the fly"
run features --checkpoint run --data videos --out kept --pooled
run "${common[@]}" --store kept --out fromstore
[ -e fromstore/features/random/store.msgpack ] || fail "random features beside a store of jepa features"
refused 2 "holds other features" "${common[@]}" --store kept --layers 0 --out fromstore

# ---- other targets ----
{ echo "file,x,y"; cd videos; ls -d */*.mp4 | awk '{printf "%s,%d,%.3f\n", $0, NR % 7, NR * 0.5}'; cd ..; } >values.csv
{ echo "file,odd,late"; cd videos; ls -d */*.mp4 | awk '{printf "%s,%d,%d\n", $0, NR % 2, (NR > 40)}'; cd ..; } >labels.csv
run "${common[@]}" --out reg --task regression --targets values.csv --probes knn,linear,attentive --epochs 1 --lr 1e-3
expect "^R2, 16 test videos  *kNN  *linear  *attentive"
expect "^training mean"
expect "^  y  "
grep -q '^"linear","raw pixels","R2",' reg/results.csv || fail "regression: raw pixels"
run "${common[@]}" --out huber --task regression --targets values.csv --loss huber
run "${common[@]}" --out multi --task multilabel --targets labels.csv
expect "^mAP, 16 test videos"
expect "^labels' shares"
[ -s multi/by_label.csv ] || fail "AP of each label"
head -20 values.csv >short.csv
refused 2 "short.csv has no line for 45 of 64 videos" "${common[@]}" --out reg2 --task regression --targets short.csv
refused 2 "expected 0 or 1" "${common[@]}" --out reg2 --task multilabel --targets values.csv
[ -e reg2/results.csv ] && fail "results of what was refused"

# ---- other videos to test on ----
mkdir val && cp -r videos/* val/ && rm -f val/*/*_00000[0-4].mp4 val/videos.csv
rm -rf train && cp -r videos train && rm -f train/*/*_00000[5-7].mp4 train/videos.csv
run probe --checkpoint run --data train --val val --out withval --probes knn
expect "^top-1, 24 test videos"
mv val/pass val/fail
refused 2 "different classes" probe --checkpoint run --data train --val val --out withval

# ---- a trained probe on other videos ----
same() { # predictions.csv column of what --apply says of the test videos
    awk -F, -v column="$3" 'NR == FNR { if (FNR > 1) said[$1] = $2; next }
        FNR == 1 { for (i = 1; i <= NF; i++) if ($i == column) at = i; next }
        said[$1] != $at { bad++ } END { exit bad > 0 || !at }' "$1" "$2"
}
for kind in linear attentive; do
    run probe --apply att/$kind --checkpoint run --data videos --out $kind.csv
    expect "^labelled  *64 of 64 videos"
    [ "$(wc -l <$kind.csv)" -eq 65 ] || fail "$kind.csv: a line for every video"
    head -1 $kind.csv | grep -q "^file,class,probability,class_2.*probability_5$" || fail "$kind.csv: its header"
    same $kind.csv att/predictions.csv "\"$kind\"" || fail "--apply of $kind says other classes than predictions.csv"
done
run probe --apply reg/attentive --checkpoint run --data videos --out values-said.csv
head -1 values-said.csv | grep -q '^file,"x","y"$' || fail "numbers by their names"
run pretrain --data videos --out other "${tiny[@]}" --set meta.seed=9
refused 2 "is another encoder" probe --apply att/linear --checkpoint other --data videos --out no.csv
refused 2 "means nothing with --apply" probe --apply att/linear --checkpoint run --data videos --out no.csv --segments 1
refused 2 "give the probe itself, att/linear or att/attentive" probe --apply att --checkpoint run --data videos --out no.csv
refused 2 "is no trained probe" probe --apply videos --checkpoint run --data videos --out no.csv
refused 2 "needs --out" probe --apply att/linear --checkpoint run --data videos
printf 'x' | dd of=att/linear/head/probe.safetensors bs=1 seek=400 conv=notrunc 2>/dev/null
refused 1 "damaged" probe --apply att/linear --checkpoint run --data videos --out no.csv
echo "{}" >att/attentive/trained.json
refused 1 "damaged" probe --apply att/attentive --checkpoint run --data videos --out no.csv
[ -e no.csv ] && fail "a table of what was refused"

# ---- what cannot be meant ----
refused 2 "are needed" probe --data videos
refused 2 "some of knn, linear, attentive" "${common[@]}" --probes knm
refused 2 "ascending numbers from 1 to" "${common[@]}" --k 0
refused 2 "ascending" "${common[@]}" --k 5,1
refused 2 "whole numbers" "${common[@]}" --k 1.5
refused 2 "classify, multilabel or regression" "${common[@]}" --task guess
refused 2 "needs --targets" "${common[@]}" --task regression
refused 2 "takes no --targets" "${common[@]}" --targets values.csv
refused 2 "squared or huber" "${common[@]}" --loss cubic
refused 2 "belongs to --task regression" "${common[@]}" --loss huber
refused 2 "numbers from 0.001 to 100" "${common[@]}" --low-shot 0
refused 2 "name one with --probes" "${common[@]}" --low-shot 5 --probes attentive
refused 2 "name it with --probes" "${common[@]}" --augment
refused 2 "expected 1 to 1000" "${common[@]}" --seeds 0
refused 2 "expected 1 to 16" "${common[@]}" --crops 0
refused 2 "expected 1 to 64" "${common[@]}" --segments 65
refused 2 "a number above 0" "${common[@]}" --probes attentive --epochs 0
refused 2 "at most 64 can be trained" "${common[@]}" --probes attentive --lr 1,2,3,4,5,6,7,8,9 --weight-decay 1,2,3,4,5,6,7,8
# nothing of an earlier study is lost by it
mkdir before && echo earlier >before/results.csv
refused 2 "cannot have 5 heads" "${common[@]}" --probes attentive --heads 5 --out before
grep -q earlier before/results.csv || fail "a refused study removed the results of another"
refused 2 "belongs to --val and --targets" "${common[@]}" --val-targets values.csv
refused 2 "numbers from 0 to 2" "${common[@]}" --layers 7
refused 2 "target or context" "${common[@]}" --network both
refused 2 "regular expression" "${common[@]}" --group-regex "("
refused 2 "too few or of one group" "${common[@]}" --group-regex "^move"
refused 2 "did you mean --probes" "${common[@]}" --probe knn
refused 1 "cannot read nowhere.csv" "${common[@]}" --task regression --targets nowhere.csv
mkdir flat && cp videos/pass/*.mp4 flat/
refused 2 "two classes or more" probe --checkpoint run --data flat --out bad
sed 's|^pass/||' values.csv >flat.csv
run probe --checkpoint run --data flat --out noclass --task regression --targets flat.csv --probes linear

# ---- what can be seen is found: noise of three colours ----
if command -v ffmpeg >/dev/null; then
    for colour in 0x803030 0x308030 0x303080; do
        mkdir -p "colours/$colour"
        for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
            ffmpeg -v error -f lavfi -i "color=c=$colour:size=32x32:rate=8:duration=2,noise=alls=90:allf=t:all_seed=$i" \
                -c:v mpeg4 -q:v 3 "colours/$colour/$i.mp4" </dev/null
        done
    done
    run probe --checkpoint run --data colours --out colours-out --probes knn,linear,attentive --epochs 30 \
        --lr 1e-2,1e-3 --weight-decay 0.01 --batch 9 --low-shot 1
    for line in "^this encoder *100.0 %.* 100.0 %.* 100.0 %" "^raw pixels *100.0 %.* 100.0 %" \
        "^ raw pixels *100.0 %.* 100.0 %" "^majority class *33.3 %"; do
        expect "$line"
    done
fi

# ---- real videos ----
if [ -d "$surveillance" ]; then
    run probe --checkpoint run --data "$surveillance" --out real --probes knn,linear,attentive --segments 1 \
        --epochs 2 --lr 1e-3 --low-shot 10
    expect "^top-1, 32 test videos"
    expect "^majority class  *50.0 %"
    run probe --apply real/attentive --checkpoint run --data "$surveillance/fight" --out real.csv
    [ "$(wc -l <real.csv)" -eq 65 ] || fail "real.csv"
else
    echo "no shared videos: only synthetic ones were probed"
fi
exit $failed

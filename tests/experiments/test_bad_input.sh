#!/usr/bin/env bash
# Bad input gives one clear line and the right exit code, and leaves nothing half-written.
#   tests/experiments/test_bad_input.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4 --set data.batch_size=2
    --set model.embed_dim=16 --set model.depth=1 --set model.num_heads=1 --set model.pred_embed_dim=16
    --set model.pred_depth=1 --set model.pred_num_heads=1 --set optimization.ipe=3
    --set optimization.epochs=1 --set checkpoint.every=1)

run synth --out videos --videos 8 --size 32 --frames 20
video=$(find videos -name '*.mp4' | sort | head -1)
mkdir empty none bad
echo hello >none/readme.txt
: >bad/zero.mp4
echo "this is text" >bad/text.mp4
printf '#EXTM3U\n/etc/passwd\n' >bad/playlist.mp4
head -c 700 "$video" >bad/cut.mp4
mkdir bad/folder.mp4

says=jepa refused 2 "no command" fly
refused 2 "did you mean --resume" pretrain --data videos --out run --resum
refused 2 "unknown key optimization.lrr.*optimization.lr" pretrain --data videos --out run --set optimization.lrr=1
refused 2 "--out is missing" pretrain --data videos
refused 1 "no videos" pretrain --data empty --out run
refused 1 "other kinds" pretrain --data none --out run
refused 1 "no such folder" pretrain --data nowhere --out run
refused 1 "none of its" pretrain --data bad --out run "${tiny[@]}"
refused 2 "patch_size 7 does not divide" pretrain --data videos --out run "${tiny[@]}" --set data.patch_size=7
refused 2 "num_heads 3 does not divide" pretrain --data videos --out run "${tiny[@]}" --set model.num_heads=3
refused 2 "not built yet: model.n_registers" pretrain --data videos --out run --set model.n_registers=4
refused 2 "need an even number" pretrain --data videos --out run "${tiny[@]}" --set model.use_rope=true --set model.pred_embed_dim=12 --set model.pred_num_heads=4
refused 2 "objective sigreg needs" pretrain --data videos --out run "${tiny[@]}" --set objective=sigreg
refused 2 "levels_predictor" pretrain --data videos --out run "${tiny[@]}" --set loss.predict_all=true
refused 2 "frozen:CHECKPOINT" pretrain --data videos --out run "${tiny[@]}" --set target=thawed
refused 1 "cannot read" pretrain --data videos --out run "${tiny[@]}" --set target=frozen:nowhere
refused 1 "cannot read" pretrain --data videos --out run "${tiny[@]}" --cooldown nowhere
refused 2 "pictures (I-JEPA)" pretrain --data videos --out run "${tiny[@]}" --set model.two_dimensional=true
refused 2 "mask.num_pred_masks" pretrain --data videos --out run "${tiny[@]}" --set mask.num_pred_masks=17
refused 2 "is not one of pictures" pretrain --data videos --out run "${tiny[@]}" --set img_data.rank_ratio=0.5
refused 2 "leave out img_data" pretrain --data videos --out run "${tiny[@]}" --set model.use_rope=true --set model.num_heads=2 --set objective=sigreg --set img_data.rank_ratio=0.5 --set tasks_per_node=2
refused 2 "teacher.num_heads" pretrain --data videos --out run "${tiny[@]}" --set target=frozen:nowhere --set teacher.embed_dim=24 --set teacher.depth=2 --set teacher.mlp_dim=96
refused 2 "norms" pretrain --data videos --out run "${tiny[@]}" --set target=frozen:nowhere --set teacher.embed_dim=24 --set teacher.depth=2 --set teacher.mlp_dim=96 --set teacher.num_heads=2 --set teacher.norms=9
printf 'data: {datasets: [videos, bad], datasets_weights: [1, 1], dataset_fpcs: [8, 4], num_frames: 4}\nmodel: {use_rope: true}\n' >order.yaml
refused 2 "given after it" pretrain --recipe order.yaml --out run
refused 2 "drop_path_rate" pretrain --data videos --out run "${tiny[@]}" --set model.drop_path_rate=1
refused 1 "nowhere" import nowhere --out imported
refused 1 "no sound safetensors file" import bad/text.mp4 --out imported
refused 1 "" export nowhere --format hf --out exported
[ -e imported ] || [ -e exported ] && fail "something is left of what was refused"
refused 1 "expected folders step-N" probe --checkpoint empty --data videos
refused 1 "cannot read" probe --checkpoint nowhere --data videos
refused 2 "frame 99" frames "$video" --indices 0,99 --out pictures
refused 1 "empty: 0 bytes" frames bad/zero.mp4 --indices 0 --out pictures
refused 2 "expected numbers" frames "$video" --indices 0,x --out pictures
refused 2 "the video lasts" frames "$video" --times 0,900 --out pictures
refused 2 "--out is missing" index videos
refused 2 "expected decode or packets" index videos --out x.index --check everything
refused 2 "is there already and no index" index videos --out none/readme.txt
grep -q hello none/readme.txt || fail "a file that is no index was overwritten"
refused 1 "no such folder" inspect nowhere
refused 2 "expected \"video|duration\"\|expected video|duration" inspect videos --set data.sampling=often
printf 'data: {datasets: [videos, bad], datasets_weights: [1, 2, 3]}\n' >mix.yaml
refused 2 "weights for" pretrain --recipe mix.yaml --out run
refused 2 "both say" pretrain --data videos --out run "${tiny[@]}" --set data.fps=4 --set data.clip_duration=2
refused 2 "needs a size" pretrain --data videos --out run "${tiny[@]}" --set data.cache_folder=frames
refused 1 "HDR\|as long as a clip" pretrain --data videos --out run "${tiny[@]}" --set data.sampling_rate=50 --set data.short_videos=skip
refused 2 "lies in the folder" transcode videos --out videos/small
[ -e pictures ] && fail "a folder for pictures that were refused"

# Among good videos, bad ones are put in quarantine with their reasons, and the run goes on.
mkdir mixed
cp -r videos/* bad/zero.mp4 bad/text.mp4 bad/cut.mp4 mixed/
mkdir -p "mixed/with space/ünï"
cp "$video" "mixed/with space/ünï/clip one.mp4"
ln -s . mixed/loop
run pretrain --data mixed --out mixed-run "${tiny[@]}"
for file in zero text cut; do grep -q "\"$file.mp4\",\"" mixed-run/quarantine.csv || fail "$file.mp4 is not in quarantine"; done
expect "3 in quarantine"
# the same through a list: quotes, relative paths, labels
printf '"mixed/with space/ünï/clip one.mp4" 3\n%s 1\nbad/zero.mp4 0\n' "$video" >list.csv
run pretrain --data list.csv --out list-run "${tiny[@]}"
# a video shorter than the clip works: it repeats its last frame
run pretrain --data videos --out short "${tiny[@]}" --set data.sampling_rate=50

# An index stands for its videos, wherever one is; a clip that takes too long ends the run.
run index videos --out videos.index
(cd / && "$jepa" inspect "$OLDPWD/videos.index" >/dev/null 2>&1) || fail "an index from another folder"
run pretrain --data videos.index --out index-run "${tiny[@]}"
refused 2 "give the folders" index videos.index --out other.index
refused 1 "data.timeout" pretrain --data videos --out slow "${tiny[@]}" --set data.timeout=1e-9
# damage everywhere is still summed up
"$jepa" inspect bad >out.txt 2>&1 || fail "inspect of what cannot be used"
grep -q "zero.mp4: empty" out.txt || fail "inspect does not name what cannot be used"

# A loss that is not finite stops the run and leaves the checkpoint before.
"$jepa" pretrain --data videos --out wild "${tiny[@]}" --set optimization.lr=100 --set optimization.start_lr=100 \
    --set optimization.ipe=300 --set model.init_std=0.9 --set loss.loss_exp=9 --set optimization.clip_grad=0 >out.txt 2>err.txt
[ $? -eq 1 ] || fail "a loss that is not finite: exit code"
grep -q "^jepa pretrain: step [0-9]*: the loss is .*slot 0 .*mp4" err.txt || { fail "step and files are not named"; tail -2 err.txt; }

if [ "$(id -u)" -ne 0 ]; then
    mkdir readonly && chmod a-w readonly
    refused 1 "readonly" pretrain --data videos --out readonly "${tiny[@]}"
else
    echo "skipped: a read-only folder (root may write everywhere)"
fi
refused 1 "cannot" pretrain --data videos --out /proc/nothing "${tiny[@]}"
exit $failed

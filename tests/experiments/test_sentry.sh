#!/usr/bin/env bash
# Diagnostics change no bit of what is trained; the sentry warns, stops, goes back; what it does comes out
# the same however often the run is killed, and on one rank or two; RUN/best is the best.
#   tests/experiments/test_sentry.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
damaged=$(realpath "$here/../..")/../shared/videos/damaged/hevc_zero10pct.mp4
tiny=(--data videos --threads 1 --workers 1 --set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4
    --set data.batch_size=4 --set tasks_per_node=2 --set optimization.micro_batch=2 --set model.embed_dim=48
    --set model.depth=2 --set model.num_heads=3 --set model.pred_embed_dim=16 --set model.pred_depth=1
    --set model.pred_num_heads=1 --set model.drop_path_rate=0.2 --set optimization.ipe=12 --set optimization.epochs=2
    --set optimization.lr=0.01 --set checkpoint.every=5 --set diagnostics.every=4 --set diagnostics.videos=12
    --set sentry.rankme_min=0 --set sentry.rankme_share=0 --set sentry.std_min=0)
run synth --out videos --videos 11 --size 32 --frames 20
train() { # RUN options...
    local run=$1
    shift
    "$jepa" pretrain --out "$run" "${tiny[@]}" "$@" >"$run.out" 2>"$run.err"
}
column() { # RUN STEP NAME: of the last row of that step
    awk -F, -v step="$2" -v name="$3" 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i} $1 == step {v = $at[name]} END {print v}' \
        "$1/diagnostics.csv"
}
# tables without what a clock decides
steps() { cut -d, -f1-7,10-13,16-19,22- "$1/log.csv"; }
diagnoses() { rev "$1/diagnostics.csv" | cut -d, -f3- | rev; }
same() { # RUN RUN [model.safetensors]: all that a run leaves; of the best, which may be from before a recipe was changed, that
    local a=$1 b=$2 path best=${3:-}
    diff <(cd "$a" && ls -d step-* best rewinds.csv 2>/dev/null) <(cd "$b" && ls -d step-* best rewinds.csv 2>/dev/null) || fail "$a and $b: what is there"
    for path in "$a"/step-* "$a/best${best:+/$best}" "$a"/rewinds.csv; do
        [ -e "$path" ] && { diff -r "$path" "$b/${path#"$a"/}" || fail "$a and $b: ${path#"$a"/}"; }
    done
    diff <(steps "$a") <(steps "$b") || fail "$a and $b: logs"
    diff <(diagnoses "$a") <(diagnoses "$b") || fail "$a and $b: diagnoses"
    diff "$a/quarantine.csv" "$b/quarantine.csv" || fail "$a and $b: quarantine"
}

echo "no bit of training changes"
train plain --set diagnostics.every=0 || fail "without diagnostics"
train warned --set checkpoint.keep_best=rankme || fail "with diagnostics"
for file in model optimizer; do
    cmp plain/step-24/$file.safetensors warned/step-24/$file.safetensors || fail "diagnostics change $file.safetensors"
done
[ "$(cut -d, -f1 warned/diagnostics.csv | paste -sd ' ')" = "step 0 4 8 12 16 20 24" ] || fail "steps of diagnoses"
grep -q "12 clips of the training videos" warned.err || fail "it does not say on which clips"
grep -q "^  cost .* s each, 7 of them: .* % of the time" warned.out || { fail "cost"; cat warned.out; }
[ -s warned/diagnostics.png ] || fail "no picture"
[ "$(wc -l <plain/diagnostics.csv)" -eq 1 ] || fail "diagnostics.every: 0 diagnoses"

echo "videos of their own"
run synth --out others --videos 9 --seed 5 --size 32 --frames 20
cp "$(find videos -name '*.mp4' | sort | head -1)" others/"$(cd others && ls | grep -v csv | head -1)"/again.mp4
train held --set diagnostics.data=others --set checkpoint.keep_best=probe || { fail "held out"; cat held.err; }
cmp plain/step-24/model.safetensors held/step-24/model.safetensors || fail "held out: other weights"
grep -q "12 clips of others" held.err || fail "held out: it does not say on which clips"
grep -Eq "warning: diagnostics.data: [12] of the 12 clips are of videos that are trained on" held.err ||
    { fail "a video that is trained on is not named"; cat held.err; }
[ -s held/diagnostics.index ] && [ -d held/best ] || fail "held out: index, best"
mkdir flat && cp "$(find videos -name '*.mp4' | sort | head -1)" flat/
train flat-run --data flat --set checkpoint.keep_best=probe && fail "probe without labels"
grep -q "^jepa pretrain: .*checkpoint.keep_best: probe goes by labels" flat-run.err || { fail "probe without labels"; cat flat-run.err; }
"$jepa" pretrain --dry-run "${tiny[@]}" --set diagnostics.every=0 --set sentry.action=stop >/dev/null 2>said && fail "a sentry without eyes"
grep -q "sentry.action goes by diagnostics" said || fail "a sentry without eyes"

echo "some of its own videos"
train apart --set diagnostics.hold_out=3 --set diagnostics.videos=6 || { fail "hold_out"; cat apart.err; }
grep -q "^3 videos are held out" apart.err && grep -q "on 6 clips of 3 videos that are held out" apart.err || { fail "hold_out: it is not said"; cat apart.err; }
grep -q "^diagnosis .* 6 clips of videos that are held out" apart.out || fail "hold_out: the summary"
cmp -s plain/step-24/model.safetensors apart/step-24/model.safetensors && fail "hold_out: they are trained on"
"$jepa" pretrain --out both "${tiny[@]}" --set diagnostics.hold_out=3 --set diagnostics.data=others 2>&1 | grep -q "give one of them" || fail "hold_out beside data"
"$jepa" pretrain --out all "${tiny[@]}" --set diagnostics.hold_out=11 2>&1 | grep -q "no video is left to train on" || fail "all held out"

echo "the best"
best=$(awk -F, 'NR > 2 && $6 > most {most = $6; step = $1} END {print step}' warned/diagnostics.csv)
grep -q "^best  *step $best, by rankme" warned.out || { fail "not step $best"; cat warned.out; }
"$jepa" inspect warned/best >said 2>&1 || fail "best: not a checkpoint"
grep -q "^step  *$best;" said || { fail "best: another step"; cat said; }
[ "$(ls -d warned/step-* | wc -l)" -eq 2 ] || fail "checkpoint.keep: $(ls warned)"

echo "warns, stops"
# a threshold that is crossed in the middle of the run
limit=$(awk -F, 'NR > 2 {if (low && $6 < low * 0.999 && $1 >= 12) {print (low + $6) / 2, $1; exit} if (!low || $6 < low) low = $6}' warned/diagnostics.csv)
at=${limit#* } limit=${limit% *}
[ -n "$at" ] || fail "no threshold to be found: $(cut -d, -f6 warned/diagnostics.csv | paste -sd ' ')"
train warns --set "sentry.rankme_min=$limit" || fail "warns: exit code"
grep -q "^warning: sentry, after step $at: context_rankme .* less than sentry.rankme_min" warns.err || { fail "warns"; cat warns.err; }
cmp plain/step-24/model.safetensors warns/step-24/model.safetensors || fail "a warning changes weights"
train stops --set "sentry.rankme_min=$limit" --set sentry.action=stop
[ $? -eq 1 ] || fail "stops: exit code"
grep -q "^jepa pretrain: the sentry stopped the run after step $at: context_rankme" stops.err || { fail "stops"; cat stops.err; }
[ -d "stops/step-$at" ] || fail "stops: no checkpoint of it"
cp -r stops resumed
"$jepa" pretrain --out resumed --resume --set sentry.action=warn >/dev/null 2>said || { fail "stopped, gone on with"; cat said; }
grep -q "recipe: sentry.action was stop, from step $at on it is warn" said || { fail "a change is not said"; cat said; }
grep -q "^$at,sentry.action,\"stop\",\"warn\"$" resumed/changes.csv || fail "a change is not written down"
cmp plain/step-24/model.safetensors resumed/step-24/model.safetensors || fail "stopped and gone on with: other weights"

echo "goes back"
back=(--set "sentry.rankme_min=$limit" --set sentry.action=rewind --set checkpoint.keep_best=lidar)
train whole "${back[@]}"
code=$?
[ $code -eq 0 ] || grep -q "^jepa pretrain: the sentry stopped the run" whole.err || { fail "goes back: exit code $code"; cat whole.err; }
rewinds=$(($(wc -l <whole/rewinds.csv) - 1))
[ "$rewinds" -ge 1 ] || fail "no rewind"
grep -q "^1,$at,[0-9]*,0.5,\"context_rankme" whole/rewinds.csv || { fail "rewinds.csv"; cat whole/rewinds.csv; }
to=$(sed -n 2p whole/rewinds.csv | cut -d, -f3)
grep -q "^going back from step $at to the checkpoint of step $to: branch 1" whole.err || { fail "it is not said"; cat whole.err; }
# the branch is in log and diagnoses, its learning rate half of the schedule's, its random choices others
lr() { awk -F, -v b="$2" -v s="$to" 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i} $at["branch"] == b && $at["step"] == s {print $at["lr"], $at["context_tokens"], $at["loss"]}' "$1/log.csv"; }
read -r lr0 tokens0 loss0 < <(lr whole 0)
read -r lr1 tokens1 loss1 < <(lr whole 1)
awk -v a="$lr0" -v b="$lr1" 'BEGIN {exit !(a > 0 && b / a > 0.4999 && b / a < 0.5001)}' || fail "learning rates $lr0 and $lr1"
[ "$tokens0 $loss0" != "$tokens1 $loss1" ] || fail "the same masks and clips again"
grep -q "^$at,1,0.5," whole/diagnostics.csv || fail "branch 1 is not diagnosed"
if [ "$rewinds" -lt 3 ]; then
    [ -d whole/step-24 ] || fail "goes back: not to the end"
fi
for signal in KILL TERM; do # which ends it at once, or after the step at work with a checkpoint
    echo "ended by $signal, and gone on with"
    rm -rf broken
    for try in $(seq 1 40); do
        (exec "$jepa" pretrain --out broken --resume "${tiny[@]}" "${back[@]}" --threads $((try % 2 + 1)) >/dev/null 2>&1) &
        pid=$!
        sleep "$(awk -v r=$RANDOM -v w="${JEPA_TEST_WAIT:-0.4}" 'BEGIN {printf "%.3f", w * (0.5 + r / 32768)}')"
        kill -$signal $pid 2>/dev/null
        wait $pid 2>/dev/null
        [ $? -ge 137 ] || break
    done
    "$jepa" pretrain --out broken --resume "${tiny[@]}" "${back[@]}" >/dev/null 2>said
    [ $? -eq $code ] || { fail "killed $try times: exit code"; cat said; }
    if [ $signal = KILL ]; then
        same whole broken
    else # further checkpoints are there
        last=$(ls -d whole/step-* | sort -V | tail -1)
        diff -r "$last" "broken/${last#whole/}" || fail "ended by TERM: the last checkpoint"
        cmp whole/rewinds.csv broken/rewinds.csv || fail "ended by TERM: rewinds"
        diff <(steps whole) <(steps broken) || fail "ended by TERM: logs"
        diff <(diagnoses whole) <(diagnoses broken) || fail "ended by TERM: diagnoses"
    fi
done

echo "killed between its parts"
# the ledger is written, nothing else is done yet
train parts "${back[@]}" --set sentry.most_rewinds=0
head -2 whole/rewinds.csv >parts/rewinds.csv
"$jepa" pretrain --out parts --resume "${tiny[@]}" "${back[@]}" --set sentry.most_rewinds=3 >/dev/null 2>said
[ $? -eq $code ] || { fail "parts: exit code"; cat said; }
same whole parts model.safetensors
# the best checkpoint is written, but not under its name
cp -r whole unnamed
"$jepa" pretrain --out unnamed --resume "${tiny[@]}" "${back[@]}" >/dev/null 2>&1
same whole unnamed
mv unnamed/best unnamed/best.before.partial && mkdir unnamed/best.partial && touch unnamed/best.partial/model.safetensors
"$jepa" pretrain --out unnamed --resume "${tiny[@]}" "${back[@]}" >/dev/null 2>&1
same whole unnamed
compgen -G "unnamed/*.partial" >/dev/null && fail "a partial folder is left"
# a ledger that knows of no such branch
cp -r whole lost && rm lost/rewinds.csv
"$jepa" pretrain --out lost --resume "${tiny[@]}" "${back[@]}" >/dev/null 2>said && fail "without its ledger"
grep -q "is of branch [1-9], where lost/rewinds.csv has branch 0" said || { fail "without its ledger"; cat said; }
[ "$(ls -d lost/step-*)" = "$(ls -d whole/step-* | sed s/whole/lost/)" ] || fail "without its ledger: checkpoints are gone"

echo "most_rewinds"
train often --set sentry.rankme_min=1000 --set sentry.action=rewind --set sentry.most_rewinds=2
[ $? -eq 1 ] || fail "often: exit code"
tail -1 often.err | grep -q "^jepa pretrain: the sentry stopped the run after step 4:" || { fail "often: the end"; cat often.err; }
[ "$(cut -d, -f1-4 often/rewinds.csv | tail -n +2 | paste -sd ' ')" = "1,4,0,0.5 2,4,0,0.25" ] || { fail "often"; cat often/rewinds.csv; }
grep -q "has gone back 2 times" often.err || { fail "often: it is not said"; cat often.err; }

echo "a loss that is not finite"
wild=(--set optimization.lr=100 --set optimization.start_lr=100 --set model.init_std=0.9 --set loss.loss_exp=9
    --set optimization.clip_grad=0 --set sentry.lr_scale=1e-3 --set sentry.action=rewind)
train wild "${wild[@]}" || { fail "wild"; cat wild.err; }
step=$(sed -n 's/^warning: sentry: step \([0-9]*\): the loss is .*/\1/p' wild.err)
[ "$(sed -n 2p wild/rewinds.csv)" = "1,$((step + 1)),0,0.001,\"the loss of step $step is not finite\"" ] || { fail "wild"; cat wild.err wild/rewinds.csv; }
[ -s "wild/nonfinite-step-$step.csv" ] && [ -d wild/step-24 ] || fail "wild: its clips are not named, or it did not go on"
train tired "${wild[@]}" --set sentry.most_rewinds=0
[ $? -eq 1 ] && tail -1 tired.err | grep -q "^jepa pretrain: step $step: the loss is " || { fail "tired"; cat tired.err; }
# where it is broken off, it goes back all the same
mkdir again && cp -r tired/. again && "$jepa" pretrain --out again --resume "${tiny[@]}" "${wild[@]}" --set sentry.most_rewinds=3 >/dev/null 2>&1 || fail "wild, resumed"
for file in model optimizer; do
    cmp wild/step-24/$file.safetensors again/step-24/$file.safetensors || fail "wild, resumed: $file"
done

# where the step behind a sound checkpoint fails again, one before is gone back to (how often depends on the machine)
train deeper "${wild[@]}" --set optimization.lr=30 --set optimization.start_lr=30 --set diagnostics.every=1
awk -F, 'NR > 2 && $2 == to + 1 && $3 >= to {bad = 1} NR > 1 {to = $3} END {exit bad || NR < 2}' deeper/rewinds.csv || { fail "deeper"; cat deeper/rewinds.csv; }

echo "without a teacher"
views=(--set objective=sigreg --set model.use_rope=true --set sigreg.local_crops_number=2 --set sigreg.local_size=16 --set sigreg.hidden_dim=32
    --set sigreg.output_dim=16 --set sigreg.num_proj=32 --set sigreg.token_drop_rate=0.5 --set data.batch_size=2
    --set sentry.rankme_min=1000 --set sentry.action=rewind --set sentry.most_rewinds=1)
train views "${views[@]}"
[ $? -eq 1 ] && [ "$(wc -l <views/rewinds.csv)" -eq 2 ] && tail -1 views.err | grep -q "the sentry stopped the run after step 4:" || { fail "sigreg"; cat views.err; }
[ -n "$(column views 4 lidar)" ] && [ -z "$(column views 4 skill)" ] && [ -z "$(column views 4 target_std)" ] || fail "sigreg: values"

ranks() { OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0 mpirun --oversubscribe -n "$@"; }
env OMPI_COMM_WORLD_SIZE=2 "$jepa" pretrain --data videos --out alone >/dev/null 2>said
if grep -q "has no MPI" said || ! command -v mpirun >/dev/null; then
    echo "skipped: several ranks"
else
    echo "two ranks"
    ranks 2 "$jepa" pretrain --out two "${tiny[@]}" "${back[@]}" >/dev/null 2>two.err
    [ $? -eq $code ] || { fail "two ranks: exit code"; cat two.err; }
    same whole two
    ranks 2 "$jepa" pretrain --out views-2 "${tiny[@]}" "${views[@]}" >/dev/null 2>&1
    same views views-2
    # what a step re-drew whose loss is not finite is noted by nobody
    if [ -e "$damaged" ]; then
        cp -r videos mixed
        for i in 1 2 3 4 5 6 7 8; do cp "$damaged" mixed/collide/damaged$i.mp4; done
        mixed=(--data mixed "${tiny[@]:2}" "${wild[@]}" --set data.index_check=packets)
        "$jepa" pretrain --out mixed-1 "${mixed[@]}" >/dev/null 2>mixed.err || { fail "mixed"; cat mixed.err; }
        ranks 2 "$jepa" pretrain --out mixed-2 "${mixed[@]}" >/dev/null 2>&1
        [ "$(wc -l <mixed-1/rewinds.csv)" -gt 1 ] && grep -q '^[0-9]*,[0-9]*,"collide/damaged' mixed-1/quarantine.csv || fail "mixed: no rewind, or nothing was re-drawn"
        same mixed-1 mixed-2
    fi
    # a run of two ranks that was killed goes on with one
    rm -rf broken
    ranks 2 "$jepa" pretrain --out broken "${tiny[@]}" "${back[@]}" --set sentry.most_rewinds=0 >/dev/null 2>&1
    head -2 whole/rewinds.csv >broken/rewinds.csv
    ranks 2 "$jepa" pretrain --out broken --resume "${tiny[@]}" "${back[@]}" --set sentry.most_rewinds=3 >/dev/null 2>&1
    same whole broken model.safetensors
fi
finish

#!/usr/bin/env bash
# Ranks train one network: 1, 2 and 4 of them, and a run that goes on with another number of them, write
# the same bytes. A rank that dies, hangs or fails ends them all, with its name and the step.
#   tests/experiments/test_ranks.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
# Open MPI's modules leak, and are unloaded before anybody could tell them by name; what ranks are made of is
# looked at for leaks with one rank.
export ASAN_OPTIONS=detect_leaks=0
tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4 --set data.batch_size=4 --threads 1 --workers 1
    --set model.embed_dim=192 --set model.depth=2 --set model.num_heads=3 --set model.pred_embed_dim=48
    --set model.pred_depth=2 --set model.pred_num_heads=1 --set model.drop_path_rate=0.2 --set loss.reg_coeff=0.1
    --set tasks_per_node=2 --set optimization.micro_batch=1 --set optimization.ipe=10 --set optimization.epochs=2
    --set optimization.lr=0.01 --set checkpoint.every=10)
views=(--set objective=sigreg --set model.use_rope=true --set sigreg.local_crops_number=3 --set sigreg.local_size=16 --set sigreg.hidden_dim=32
    --set sigreg.output_dim=16 --set sigreg.num_proj=32 --set sigreg.token_drop_rate=0.5 --set loss.reg_coeff=0)
pictures=(--recipe "$here/../../experiments/recipes/vjepa2_1-vitb16.yaml" --set nodes=1 --set model.model_name=null
    --set model.depth=4 --set optimization.warmup=0 --set img_data.batch_size=3 --set img_data.crop_size=32
    --set img_data.datasets=pictures --set img_data.rank_ratio=0.5 --set loss.lambda_start=0 --set loss.lambda_end=2)
# 11 videos: no number of ranks, no batch divides them
run synth --out videos --videos 11 --size 32 --frames 20
mkdir pictures
for video in videos/*/*.mp4; do
    ffmpeg -loglevel error -i "$video" -frames:v 1 "pictures/$(basename "$video" .mp4).png" </dev/null || fail "pictures"
done
env OMPI_COMM_WORLD_SIZE=2 "$jepa" pretrain --data videos --out alone >/dev/null 2>said
grep -q "has no MPI" said && { echo "skipped: this build has no MPI"; exit 0; }
command -v mpirun >/dev/null || { echo "skipped: there is no mpirun"; exit 0; }
ranks() { # N command...
    local n=$1
    shift
    if [ "$n" = 1 ]; then "$@"; else exec_ranks "$n" "$@"; fi
}
exec_ranks() { OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n "$@"; }
train() { # N RUN options...
    local n=$1 run=$2
    shift 2
    ranks "$n" "$jepa" pretrain --data videos --out "$run" "${tiny[@]}" "$@" >"$run.out" 2>"$run.err" || { fail "$run"; cat "$run.err"; }
}
steps() { cut -d, -f1-7,10-13,16-19,22- "$1/log.csv"; } # what no clock can change
same() { # RUN RUN
    diff <(cd "$1/step-20" && sha256sum -- *) <(cd "$2/step-20" && sha256sum -- *) || fail "$1 and $2: checkpoints"
    diff <(steps "$1") <(steps "$2") >/dev/null || { fail "$1 and $2: logs"; diff <(steps "$1") <(steps "$2") | head -4; }
    diff "$1/quarantine.csv" "$2/quarantine.csv" || fail "$1 and $2: quarantine"
}

echo "the same bytes"
for kind in packed truncate sigreg pictures bfloat16 sigreg-bfloat16; do
    case $kind in
        packed) own=() ;;
        truncate) own=(--set mask.batch=truncate --set optimization.reduce_leaves=4 --set optimization.micro_batch=2) ;;
        sigreg) own=("${views[@]}") ;;
        pictures) own=("${pictures[@]}" --set tasks_per_node=4) ;; # 14 micro-batches, some ranks have pictures alone
        bfloat16) own=(--set meta.dtype=bfloat16 --emulate-bfloat16) ;;
        sigreg-bfloat16) own=("${views[@]}" --set meta.dtype=bfloat16 --emulate-bfloat16) ;;
    esac
    all="1 2 4"
    [[ $kind = truncate || $kind = *bfloat16 ]] && all="1 4"
    for n in $all; do
        train $n $kind-$n "${own[@]}"
        [ $n = 1 ] || same $kind-1 $kind-$n
    done
done

echo "going on with another number"
for pair in 1-4 4-2; do
    from=${pair%-*} to=${pair#*-}
    cp -r packed-"$from" on-$pair && rm -rf on-$pair/step-20
    ranks "$to" "$jepa" pretrain --resume --out on-$pair --threads 1 >/dev/null 2>said || { fail "on-$pair"; cat said; }
    same packed-1 on-$pair
done

echo "the library's own reduction"
train 2 fast-2 --set ranks.exchange=fast
awk -F, 'NR == FNR {loss[FNR] = $3; next} FNR > 1 && ($3 / loss[FNR] - 1) ^ 2 > 1e-6 {exit 1}' packed-1/log.csv fast-2/log.csv || fail "fast: other losses"

# Its packets are whole, some of its pictures are not: it is known when a clip is decoded.
damaged=$here/../../../shared/videos/damaged/hevc_zero10pct.mp4
if [ -f "$damaged" ]; then
    echo "clips that are drawn again"
    cp -r videos mixed && cp "$damaged" mixed/
    for n in 1 4; do
        ranks "$n" "$jepa" pretrain --data mixed --out mixed-"$n" "${tiny[@]}" --set data.index_check=packets >/dev/null 2>said || { fail "mixed-$n"; cat said; }
    done
    same mixed-1 mixed-4
    [ "$(wc -l <mixed-4/quarantine.csv)" -gt 1 ] || fail "no clip was drawn again"
fi

echo "refusals"
exec_ranks 3 "$jepa" pretrain --data videos --out never "${tiny[@]}" >/dev/null 2>said && fail "3 ranks for 8 leaves"
grep -q "^jepa pretrain: 3 ranks cannot share out .* 8 leaves: 1, 2, 4, 8 would do" said || { fail "3 ranks: what it says"; cat said; }
[ "$(grep -c "cannot share out" said)" = 1 ] || fail "3 ranks: said more than once"
"$jepa" plan "${tiny[@]}" --ranks 3 >/dev/null 2>said && fail "plan: 3 ranks"
"$jepa" plan "${tiny[@]}" --ranks 4 2>/dev/null >plan || fail "plan: 4 ranks"
planned=$(sed -n 's/^memory  *\(.*\): \(.* MiB\) for rank 0$/\2 (\1) for rank 0/p' plan)
grep -qF "memory plan: $planned" packed-4.err || { fail "plan: not $planned"; grep "^memory plan" packed-4.err; }

# wait_for FILE LINES
wait_for() {
    local i
    for i in $(seq 300); do [ -s "$1" ] && [ "$(wc -l <"$1")" -gt "$2" ] && return 0; sleep 0.05; done
    fail "$1 does not grow"
}
begin() { # RUN options...: four ranks in the background
    local run=$1
    shift
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n 4 "$jepa" pretrain --data videos --out "$run" \
        "${tiny[@]}" --set optimization.epochs=1000 --set checkpoint.every=5 "$@" >/dev/null 2>"$run.err" &
    launcher=$!
    wait_for "$run/log.csv" 7
    victim=$(pgrep -P $launcher | sort -n | sed -n 3p) # rank 2
}
ended() { # RUN: after at most so many seconds, with this in its messages
    local started=$SECONDS
    wait $launcher && fail "$1: exit code 0"
    [ $((SECONDS - started)) -le "$2" ] || fail "$1: ended after $((SECONDS - started)) s"
    grep -qE "$3" "$1.err" || { fail "$1: what it says"; cat "$1.err"; }
    "$jepa" inspect "$(ls -d "$1"/step-* | sort -V | tail -1)" >/dev/null 2>said || { fail "$1: its checkpoint"; cat said; }
}
echo "a rank that dies"
begin killed
kill -9 "$victim"
ended killed 20 "rank 2 \(.*, process $victim\) has died at step [0-9]+, in the .*; the last checkpoint \(step [0-9]+\) is untouched"
echo "a rank that hangs"
begin stopped --set ranks.timeout=5
kill -STOP "$victim"
# on a busy machine another one may be as late, for it waits for that one too
ended stopped 30 "rank 2 \(.*, process $victim\).* has not answered for 5 s .*at step [0-9]+, in the .*; the last checkpoint"
echo "a rank that fails"
cp -r videos gone
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n 4 "$jepa" pretrain --data gone --out failed "${tiny[@]}" \
    --set optimization.epochs=1000 --set checkpoint.every=5 >/dev/null 2>failed.err &
launcher=$!
wait_for failed/log.csv 7
find gone -name '*.mp4' -delete
ended failed 20 "^jepa pretrain: (rank [123] .*: )?step [0-9]+: no clip could be decoded for slot [0-9]+ .*No such file"
[ "$(grep -c "no clip could be decoded" failed.err)" = 1 ] || { fail "said more than once"; cat failed.err; }
done=$(($(wc -l <failed/log.csv) - 1))
[ -d "failed/step-$done" ] || fail "no checkpoint of step $done, the last whole one"
echo "a checkpoint that cannot be written"
mkdir full && touch full/step-10.partial # where its folder would be
exec_ranks 2 "$jepa" pretrain --data videos --out full "${tiny[@]}" >/dev/null 2>full.err && fail "no checkpoint: exit code 0"
[ "$(grep -c "^jepa pretrain: .*not written" full.err)" = 1 ] || { fail "no checkpoint: what it says"; cat full.err; }
echo "signals"
begin signalled --set checkpoint.every=100000
kill -USR1 $launcher
wait $launcher
grep -q "^stopping after step" signalled.err || { fail "SIGUSR1"; cat signalled.err; }
done=$(($(wc -l <signalled/log.csv) - 1))
[ -d "signalled/step-$done" ] || fail "SIGUSR1: no checkpoint of step $done"

finish

#!/usr/bin/env bash
# Killed at random moments, and in the middle of writing checkpoints, a run that is resumed ends with the
# same bytes as one that was never stopped, whatever the number of threads and decoding workers.
#   tests/experiments/test_resume.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4 --set data.batch_size=2
    --set model.embed_dim=16 --set model.depth=1 --set model.num_heads=1 --set model.pred_embed_dim=16
    --set model.pred_depth=1 --set model.pred_num_heads=1 --set tasks_per_node=2
    --set optimization.ipe=20 --set optimization.epochs=20 --set checkpoint.every=1 --set diagnostics.videos=2)
# columns of log.csv that no clock can change
steps() { cut -d, -f1-7,10-13,16-19,22- "$1/log.csv"; }

run synth --out videos --videos 8 --size 32 --frames 20
train=(pretrain --data videos "${tiny[@]}")
exec_train() { exec "$jepa" "${train[@]}" "$@" >/dev/null 2>&1; } # for "&"
run "${train[@]}" --out whole

echo "killing at random moments"
kills=0 halves=0
for try in $(seq 1 60); do
    exec_train --out broken --resume --threads $((try % 2 + 1)) --workers $((try % 3 + 1)) &
    pid=$!
    sleep "$(awk -v r=$RANDOM 'BEGIN{printf "%.3f", 0.1 + r / 32768 * 0.4}')"
    if kill -9 $pid 2>/dev/null; then
        kills=$((kills + 1))
        compgen -G "broken/*.partial" >/dev/null && halves=$((halves + 1))
    fi
    wait $pid 2>/dev/null && break
done
run "${train[@]}" --out broken --resume
echo "$kills kills, $halves of them in the middle of writing a checkpoint"
[ "$kills" -ge 3 ] || fail "only $kills kills: the run is too short for this machine"
diff -r whole/step-400 broken/step-400 || fail "the last checkpoint differs"
diff -r whole/step-399 broken/step-399 || fail "the checkpoint before it differs"
diff <(steps whole) <(steps broken) || fail "the logs differ"
compgen -G "broken/*.partial" >/dev/null && fail "a partial file is left"

echo "signals"
for signal in INT TERM USR1; do
    (trap - INT; exec "$jepa" "${train[@]}" --set checkpoint.every=1000 --out "sig$signal") >/dev/null 2>&1 &
    pid=$!
    for wait in $(seq 1 200); do [ -s "sig$signal/log.csv" ] && [ "$(wc -l <"sig$signal/log.csv")" -gt 3 ] && break; sleep 0.05; done
    kill -$signal $pid
    wait $pid
    code=$?
    expected=$((128 + $(kill -l $signal)))
    [ $code -eq $expected ] || [ $code -eq 0 ] || fail "SIG$signal: exit code $code, expected $expected"
    compgen -G "sig$signal/step-*" >/dev/null || fail "SIG$signal left no checkpoint"
    run "${train[@]}" --set checkpoint.every=1000 --out "sig$signal" --resume
    cmp whole/step-400/model.safetensors "sig$signal/step-400/model.safetensors" || fail "SIG$signal: other weights"
done

echo "refusals"
refused 2 "holds a run already" "${train[@]}" --out whole
refused 2 "another recipe" "${train[@]}" --out whole --resume --set optimization.lr=0.5
cp -r whole damaged
printf 'x' | dd of=damaged/step-400/model.safetensors bs=1 seek=5000 conv=notrunc 2>/dev/null
refused 1 "is damaged" visualize --checkpoint damaged --video "$(find videos -name '*.mp4' | head -1)" --out pictures
run "${train[@]}" --out damaged --resume
grep -q "warning.*damaged" err.txt || fail "the damaged tensors were not named"
diff -r whole/step-400 damaged/step-400 || fail "the step done again after damaged tensors differs"
rm -rf damaged && cp -r whole damaged
head -c 100 whole/step-400/checkpoint.msgpack >damaged/step-400/checkpoint.msgpack
run "${train[@]}" --out damaged --resume
grep -q "warning.*step-400" err.txt || fail "the damaged checkpoint was not named"
diff -r whole/step-400 damaged/step-400 || fail "the step done again differs"
mkdir other && cp -r videos/* other/ && cp -r whole moved
video=$(find videos -name '*.mp4' | sort | head -1)
cp "$video" kept.mp4 && printf 'y' >>"$video"
refused 1 "has changed" "${train[@]}" --out whole --resume
cp kept.mp4 "$video"

echo "two runs in one folder"
exec_train --out locked --set optimization.epochs=1000 &
pid=$!
for wait in $(seq 1 100); do [ -s locked/log.csv ] && break; sleep 0.05; done
begun=locked/ refused 1 "held by process $pid" "${train[@]}" --out locked --set optimization.epochs=1000 --resume
kill -9 $pid
wait $pid 2>/dev/null

echo "a disk that fills up"
(ulimit -f 40; trap '' XFSZ; "$jepa" "${train[@]}" --out full >/dev/null 2>err.txt)
[ $? -eq 1 ] || fail "a full disk: not exit code 1"
grep -q "^jepa pretrain: .*not written" err.txt || { fail "a full disk: no clear line"; cat err.txt; }
compgen -G "full/step-*" >/dev/null && fail "a full disk: something half-written is left"

finish

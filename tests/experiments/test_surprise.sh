#!/usr/bin/env bash
# jepa surprise on a tiny checkpoint: a curve and a table for a video; results of pairs, from a pairs.csv
# and from file names; the same bytes for any number of threads; equal videos are a draw; memory does not
# grow with the video; what cannot be shown is refused in a line. (The metric: tests/eval/test_surprise.c.)
#   tests/experiments/test_surprise.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
source "$here/small_run.sh"

# ---- a video: 8 of every 2nd frame are a window; 2 of these on, the next: frames 0 to 14, 4 to 18, ..., 24 to 38 ----
run surprise --checkpoint run --video "$video" --out one
there one surprise.csv surprise.png
heading=model,window,first_frame,last_frame,first_seconds,last_seconds,context_2,context_4,context_6,least
[ "$(head -n 1 one/surprise.csv)" = $heading ] || { fail "heading"; head -n 1 one/surprise.csv; }
[ "$(grep -c ^trained one/surprise.csv)" -eq 7 ] && [ "$(grep -c ^repeated one/surprise.csv)" -eq 7 ] || fail "not 7 windows"
grep -q "^trained,1,4,18," one/surprise.csv || fail "the second window"
awk -F, 'NR > 1 { least = $7; for (i = 8; i <= 9; i++) if ($i < least) least = $i
                  if ($10 != least || !(least > 0)) bad = 1 } END { exit bad }' one/surprise.csv || fail "least is not the least"
run surprise --checkpoint run --video "$video" --out two --context 4 --stride 4 --threads 1
[ "$(grep -c ^trained two/surprise.csv)" -eq 4 ] || fail "--stride 4"
# the same window and context: the same number but for float32 sums in another order, whatever else is computed
awk -F, 'NR == FNR { if ($1 == "trained" && $3 == 8) a = $8; next } $1 == "trained" && $3 == 8 { b = $7 }
         END { d = (a - b) / a; exit !(a > 0 && d < 1e-5 && d > -1e-5) }' one/surprise.csv two/surprise.csv ||
    fail "--context 4 is not column context_4"
run surprise --checkpoint run/step-2/model.safetensors --video "$video" --out again --threads 1
cmp -s one/surprise.csv again/surprise.csv && cmp -s one/surprise.png again/surprise.png || fail "not the same again"
run surprise --checkpoint run --video videos --videos 2 --out several
[ "$(find several -name surprise.png | wc -l)" -eq 2 ] || fail "not two videos"

# ---- pairs ----
run synth --out pairs --physics --pairs 2 --size 64 --frames 48 --seed 5
run surprise --checkpoint run --pairs pairs --out results --pictures 2
there results windows.csv results.csv results.json pair-jump.png pair-jump.2.png pair-shape.png pair-through.png pair-vanish.png
grep -q "of 4 scenes, as" out.txt || fail "intervals over scenes"
# 5 groups, 3 models, 3 contexts and the least, 2 scores
[ "$(wc -l <results/results.csv)" -eq $((1 + 5 * 3 * 4 * 2)) ] || fail "rows of results.csv"
grep -q '^"\?all"\?,trained,least,max,8,4,' results/results.csv || { fail "8 pairs, 4 scenes"; cat results/results.csv; }
[ "$(grep -c '"accuracy": ' results/results.json)" -eq $((5 * 3 * 4 * 2)) ] || fail "results.json"
# what the table says is what the windows say: accuracy of avg over context 4, by hand
by_hand=$(awk -F, '$4 == "trained" { p = $1 "," $2; pairs[p]; s[p "," $3] += $11; n[p "," $3]++ }
    END { for (p in pairs) { d = s[p ",impossible"] / n[p ",impossible"] - s[p ",possible"] / n[p ",possible"]
          right += d > 1e-12 ? 1 : d > -1e-12 ? 0.5 : 0 } print right / 8 }' results/windows.csv)
said=$(awk -F, '$1 ~ /all/ && $2 == "trained" && $3 == "4" && $4 == "avg" { print $9 }' results/results.csv)
[ "$by_hand" = "$said" ] || fail "accuracy $said, by hand $by_hand"
# by file names; a video against itself is a draw, for every model
mkdir -p named/same && cp "$video" named/same/a_possible.mp4 && cp "$video" named/same/a_impossible.mp4
run surprise --checkpoint run --pairs named --out named-results --pictures 0
awk -F, 'NR > 1 && !($1 ~ /same/ && $5 == 1 && $7 == 0 && $8 == 1 && $9 == 0.5 && $12 == 0.5) { bad = 1 }
         END { exit bad || NR != 25 }' named-results/results.csv || { fail "a draw"; cat named-results/results.csv; }
[ ! -e named-results/pair-same.png ] || fail "--pictures 0"
# a list as a spreadsheet writes it: a mark before it, no end of its last line, no scene for some; two kinds that
# would have one file name; videos of unlike length, whose strips stand on one axis
run synth --out longer --videos 1 --size 48 --frames 80 --seed 4
cp "$(find longer -name '*.mp4')" named/long.mp4
printf '\xef\xbb\xbfkind,pair,possible,impossible,scene\na b,7,same/a_possible.mp4,long.mp4,\na_b,8,long.mp4,same/a_possible.mp4,\na b,9,same/a_possible.mp4,same/a_impossible.mp4,' >named/list.csv
run surprise --checkpoint run --pairs named/list.csv --out listed
there listed pair-a_b.png pair-a_b.kind2.png
grep -q '^"\?all"\?,trained,least,max,3,3,' listed/results.csv || { fail "three pairs, three scenes"; cat listed/results.csv; }
[ "$(cut -d, -f1,2 listed/windows.csv | sort -u | tr -d '"' | tr '\n' ' ')" = "a b,7 a b,9 a_b,8 kind,pair " ] ||
    fail "pairs by the list's own numbers"
# another seed gives other random weights, and the trained ones stay
run surprise --checkpoint run --pairs named --out seed --pictures 0 --random-seed 7
cmp -s <(grep ,trained, seed/windows.csv) <(grep ,trained, named-results/windows.csv) || fail "--random-seed changes the trained"
cmp -s <(grep ,random, seed/windows.csv) <(grep ,random, named-results/windows.csv) && fail "--random-seed changes nothing"

# ---- memory: a video ten times as long takes less than a tenth more ----
peak() { # video: KiB
    "$jepa" surprise --checkpoint run --video "$1" --out long --stride 7 --threads 1 >/dev/null 2>&1 &
    local id=$! most=0 now
    while now=$(awk '/^VmHWM/ { print $2 }' /proc/$id/status 2>/dev/null); do
        [ "${now:-0}" -gt "$most" ] && most=$now
        sleep 0.02
    done
    wait $id || fail "surprise of $1"
    echo "$most"
}
run synth --out long-video --videos 1 --size 48 --frames 400 --seed 3
if [ -z "${JEPA_NO_MEMORY_TEST:-}" ] && ! grep -q __asan_init "$jepa"; then
    short=$(peak "$video") long=$(peak "$(find long-video -name '*.mp4')")
    [ "$long" -lt $((short + short / 10)) ] || fail "$long KiB for 400 frames, $short KiB for 40"
fi

# ---- refusals ----
c=(surprise --checkpoint run --out no)
refuses_to_show surprise "no predictor"
mkdir mixed && cp "$(find short -name '*.mp4')" mixed/b_possible.mp4 && cp "$video" mixed/b_impossible.mp4
refused 1 "b_possible.mp4: 6 frames .* fewer than a clip" "${c[@]}" --pairs mixed
refused 2 "one of --video and --pairs" "${c[@]}"
refused 2 "one of --video and --pairs" "${c[@]}" --video "$video" --pairs pairs
refused 2 "--context 3: expected up to 15 multiples of 2" "${c[@]}" --video "$video" --context 3
refused 2 "from 2 to 6" "${c[@]}" --video "$video" --context 2,8
refused 2 "--stride 8: expected 1 to 7" "${c[@]}" --video "$video" --stride 8
refused 2 "--stride 0" "${c[@]}" --video "$video" --stride 0
refused 1 "no pairs.csv in it" "${c[@]}" --pairs videos
refused 1 "nothing" "${c[@]}" --pairs nothing.csv
printf 'a,b\n1,2\n' >bad.csv
refused 1 'bad.csv: no columns "possible" and "impossible"' "${c[@]}" --pairs bad.csv
printf 'possible,impossible\nx.mp4\n' >bad.csv
refused 1 "bad.csv, pair 1: expected the paths" "${c[@]}" --pairs bad.csv
printf 'possible,impossible\n' >bad.csv
refused 1 "bad.csv: 0 pairs" "${c[@]}" --pairs bad.csv
printf 'possible,impossible\nx.mp4,y.mp4\n' >bad.csv
refused 1 "x.mp4" "${c[@]}" --pairs bad.csv
mkdir half && cp "$video" half/a_possible.mp4
refused 1 "a_possible.mp4: its counterpart is missing" "${c[@]}" --pairs half
[ -z "$(find . -name '*.partial')" ] || fail "something half-written was left"
finish "surprise: curves, pairs and refusals"

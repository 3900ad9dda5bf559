#!/usr/bin/env bash
# jepa report of real runs: the page needs nothing else and is well-formed, names of files are text,
# comparison, a watched run, event files of a run that was killed, one line for what cannot be.
#   tests/experiments/test_report.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
trap 'kill $(jobs -p) 2>/dev/null; remove_work' EXIT
tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4 --set data.batch_size=2
    --set model.embed_dim=16 --set model.depth=1 --set model.num_heads=1 --set model.pred_embed_dim=16
    --set model.pred_depth=1 --set model.pred_num_heads=1 --set optimization.ipe=20 --threads 1 --workers 1)
has() { grep -qF -- "$2" "$1" || fail "$1 has no $2"; }
python=$(command -v python3)
check_page() { # whole, alone, well-formed where there is something to tell
    [ "$(tail -c 15 "$1" | tr -d '\n')" = "</body></html>" ] || fail "$1 is cut short"
    grep -qE 'https?://|url\(|@import|<link|<script src' "$1" && fail "$1 needs something else"
    if [ -n "$python" ]; then
        "$python" "$here/check_page.py" "$1" || fail "$1 is not well-formed"
    elif command -v xmllint >/dev/null; then # it does not know SVG and main
        xmllint --html --noout "$1" 2>&1 | grep error | grep -v "Tag [a-z]* invalid" && fail "$1 is not well-formed"
    fi
}

run synth --out videos --videos 8 --size 32 --frames 20
class=$(find videos -mindepth 1 -type d | sort | head -1)
head -c 700 "$(find "$class" -name '*.mp4' | sort | head -1)" >"$class/<script>alert('x')<b>.mp4"

echo "a run"
run pretrain --data videos --out a --set optimization.epochs=2 --set checkpoint.every=20 "${tiny[@]}"
"$jepa" probe --checkpoint a --data videos >/dev/null 2>&1 # too few videos of a class: no results then
run report a
[ -s err.txt ] && fail "report says: $(cat err.txt)"
[ "$(cat out.txt)" = "report           a/report.html" ] || fail "report prints: $(cat out.txt)"
check_page a/report.html
has a/report.html '&lt;script&gt;alert(&#39;x&#39;)&lt;b&gt;.mp4'
grep -q '<script>alert' a/report.html && fail "a name of a file is a script"
has a/report.html 'class="state finished">finished'
has a/report.html '<b>step-40</b>'
for hash in $("$jepa" inspect a 2>/dev/null | grep -oE '[0-9a-f]{64}'); do
    has a/report.html "$hash"
done
has a/report.html "$("$jepa" --version)"
has a/report.html "$(b2sum -l 256 "$jepa" | cut -d ' ' -f 1)"
run report a --video "$(find videos -name '*_000000.mp4' | sort | head -1)"
check_page a/report.html
has a/report.html 'pictures/step-40'
has a/report.html 'data:image/png;base64,iVBORw0KGgo'

echo "pieces that are missing"
for piece in recipe.yaml videos.index log.csv quarantine.csv step-40 step-20 probe; do
    rm -rf part
    cp -r a part
    rm -rf "part/$piece"
    "$jepa" report part >/dev/null 2>err.txt || fail "without $piece: $(cat err.txt)"
    check_page part/report.html
done
rm -rf part
cp -r a part
printf '0,9,0.5' >>part/log.csv # the run is writing this line
run report part
has part/report.html '<b>40</b><small>of 40'

echo "comparison"
run pretrain --data videos --out b --set optimization.epochs=1 --set optimization.lr=0.002 "${tiny[@]}"
run report a b --out both.html
check_page both.html
has both.html '<th>optimization.lr</th><td>0.001</td><td>0.002</td>'
has both.html '<th>optimization.epochs</th><td>2</td><td>1</td>'
grep -q '<th>data.batch_size</th>' both.html && fail "a key that does not differ"
has both.html 'mean of the 10 steps before 20'
(cd b && "$jepa" report ../a ../b ../a >/dev/null) && check_page b/comparison.html || fail "comparison.html"

echo "a watched run"
(exec "$jepa" pretrain --data videos --out c --set optimization.epochs=15 --set logging.tensorboard=true "${tiny[@]}" >/dev/null 2>&1) &
run=$!
for wait in $(seq 1 400); do [ -s c/log.csv ] && break; sleep 0.05; done
"$jepa" report c --watch 0.2 >watch.txt 2>&1 &
watch=$!
live=0 seen=0
while kill -0 $run 2>/dev/null; do
    if [ -s c/report.html ]; then
        cp c/report.html page.html # whole at any moment, as it is renamed into its place
        seen=$((seen + 1))
        [ "$(tail -c 15 page.html | tr -d '\n')" = "</body></html>" ] || fail "half a page"
        grep -q 'state running' page.html && grep -q 'http-equiv="refresh"' page.html && live=$((live + 1))
    fi
    sleep 0.05
done
wait $run || fail "the watched run"
for wait in $(seq 1 200); do kill -0 $watch 2>/dev/null || break; sleep 0.1; done
kill -0 $watch 2>/dev/null && fail "--watch does not end with the run"
wait $watch || fail "--watch ends with an error: $(cat watch.txt)"
[ "$live" -ge 1 ] || fail "no page of the running run ($seen pages)"
has c/report.html 'state finished'
grep -q 'http-equiv="refresh"' c/report.html && fail "the last page loads itself again"
sed -i '$d' c/log.csv # now it seems to be running on another machine
"$jepa" report c --watch >watch.txt 2>&1 &
watch=$!
for wait in $(seq 1 100); do grep -q 'perhaps running' c/report.html && break; sleep 0.1; done
kill -INT $watch
wait $watch || fail "SIGINT: exit code $?"
has c/report.html 'perhaps running'

echo "event files"
board() { # of a run with its own log; exact where Python can tell
    [ -n "$python" ] || return 0
    "$python" "$here/check_events.py" "$1" "$2" || fail "event files in $1"
}
train_d=(pretrain --data videos --out d --resume --set optimization.epochs=10 --set checkpoint.every=7
    --set logging.tensorboard=true "${tiny[@]}")
kills=0
for try in $(seq 1 8); do
    (exec "$jepa" "${train_d[@]}" >/dev/null 2>&1) &
    pid=$!
    sleep 0.$((try + 1))
    kill -9 $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null
done
run "${train_d[@]}"
echo "$kills kills"
board d/tensorboard d/log.csv
run report d --tensorboard events
board events d/log.csv

echo "refusals"
mkdir empty
: >file
refused 2 "expected 1 to 8 folders" report
refused 2 "expected 1 to 8 folders" report a a a a a a a a a
refused 1 "no such folder" report nowhere
refused 1 "holds no run" report empty
refused 1 "cannot write nowhere/x.html" report a --out nowhere/x.html
refused 1 "cannot write file/x.html" report a --out file/x.html
refused 2 "are for one run" report a b --video x.mp4
refused 2 "are for one run" report a b --tensorboard x
refused 2 "holds event files already" report d --tensorboard events
refused 1 "file" report a --tensorboard file/inside
refused 2 "--watch: expected" report a --watch -3
refused 2 "did you mean --watch" report a --wach
rm -rf a/pictures
says="jepa visualize" refused 1 "nowhere.mp4" report a --video nowhere.mp4

finish

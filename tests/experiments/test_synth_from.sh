#!/usr/bin/env bash
# jepa synth --from: temporal variants of real videos, from sources of all kinds, for jepa probe.
#   tests/experiments/test_synth_from.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
shared=$(realpath "$here/../..")/../shared/videos
export XDG_CACHE_HOME=$work/cache
after_refusal() { [ -e refused ] && fail "something is left: jepa $1"; }
sums() { (cd "$1" && find . -type f | sort | xargs sha256sum); }

# Sources: real ones where they are, with damaged and odd ones among them; else rendered ones.
mkdir -p in/one in/two
if [ -d "$shared/surveillance" ]; then
    for n in 1 2 3 4 5 6; do
        cp "$shared/surveillance/fight/fi00$n.mp4" in/one/
        cp "$shared/surveillance/no_fight/nofi00$n.mp4" in/two/
    done
    cp "$shared/surveillance/no_fight/nofi007.mp4" in/two/ # 12 frames a second: too slow
    cp "$shared"/damaged/* in/two/
    cp "$shared/edge_cases/"{animated.gif,corrupted.mp4,h264_10bits.mp4,testsrc2_odd_width_vp9.mp4,video_90.mov} \
        "$shared/containers/"{rot.mp4,vfr.mp4,audio_only.mp4,h264.ts} in/one/
else
    echo "skipped: real, damaged and odd sources ($shared is not there)"
    run synth --out rendered --videos 12 --size 64 --frames 60 --fps 24
    cp rendered/{collide,pass,return}/*.mp4 in/one/
    cp rendered/{move_left,move_right,vanish}/*.mp4 in/two/
    run synth --out slow --videos 1 --size 64 --frames 60 --fps 12
    cp slow/collide/*.mp4 in/two/slow.mp4
    : >in/two/empty.mp4
    head -c 700 in/one/collide_000000.mp4 >in/two/h264_trunc1k.mp4
    echo "this is text" >in/two/text.mp4
fi
cp "$(find in/one -name '*1.mp4' | sort | head -1)" "in/two/a copy.mp4"

variants=(--frames 16 --fps 24 --size 64 --seed 5)
run synth --from in "${variants[@]}" --out v --threads 1
sources=$(find in -type f | wc -l)
left=$(($(wc -l <v/left_out.csv) - 1))
expect "^sources *$sources: $((sources - left)) used, $left left out"
for name in empty h264_trunc1k text; do grep -q "^\"two/$name.mp4\",\"." v/left_out.csv || fail "$name is not named"; done
grep -q '12 frames a second' v/left_out.csv || fail "the slow source is not named"
grep -q '^"two/a copy.mp4","the same bytes as' v/left_out.csv || fail "the copy is not named"
grep -q "^ *\"one/\|^ *\"two/" out.txt || fail "what is left out is not named on the terminal"

# Five classes of the same size, a stretch's files of the same number of bytes, a source on one side.
for class in double_speed forward frozen halves_swapped reversed; do
    [ "$(ls v/$class | wc -l)" -eq $((sources - left)) ] || fail "$class: $(ls v/$class | wc -l) videos"
done
[ "$(wc -l <v/videos.csv)" -eq $((5 * (sources - left))) ] || fail "videos.csv"
[ "$(cat v/train.csv v/test.csv | sort)" = "$(sort v/videos.csv)" ] || fail "train and test are not all"
sed -n '2,$p' v/manifest.csv | while IFS=, read -r file class set source hash rest; do
    bytes=${rest##*,}
    [ "$(stat -c %s "v/$file")" -eq "$bytes" ] || echo "bytes of $file"
    echo "$source $hash $set $bytes" >>pairs
    grep -q "^$file $class\$" "v/$set.csv" || echo "$file is not in $set.csv"
done >wrong
[ -s wrong ] && { fail "the manifest"; head -3 wrong; }
[ "$(sort -u pairs | wc -l)" -eq $((sources - left)) ] || fail "a source with two sets or sizes"
[ "$(cut -d' ' -f2 v/test.csv | sort | uniq -c | awk '{print $1}' | sort -u | wc -l)" -eq 1 ] || fail "classes are not balanced"
run inspect v
expect " 0 unusable"
expect "^frames  *16 to 16"
expect "^sizes  *64x64 $((5 * (sources - left)))\$"
expect "^frames a second  *24 $((5 * (sources - left)))\$"
find v -name '*.partial' | grep -q . && fail "something half-written"

# The same bytes from more threads, through a list, an index; others from another seed.
sums v >v.sums
run synth --from in "${variants[@]}" --out w --threads 3
sums w | cmp - v.sums || fail "threads change the bytes"
run index in --out in.index
run synth --from in.index "${variants[@]}" --out x
sums x | cmp - v.sums || fail "an index gives other bytes"
rm -rf w x
run synth --from in "${variants[@]}" --out w --seed 6
sums w >w.sums
cmp -s w.sums v.sums && fail "the seed changes nothing"
# Several stretches of a source
run synth --from in --out y --frames 8 --fps 24 --size 32 --per-source 3
[ "$(ls y/forward | wc -l)" -gt $((sources - left)) ] || fail "one stretch of each source only"
ls y/forward | grep -q '_1_forward' || fail "names of stretches"

# jepa probe takes the lists; and the folder, split by source.
tiny=(--set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4 --set data.sampling_rate=2
    --set data.batch_size=4 --set model.embed_dim=16 --set model.depth=1 --set model.num_heads=1
    --set model.pred_embed_dim=16 --set model.pred_depth=1 --set model.pred_num_heads=1
    --set optimization.ipe=2 --set optimization.epochs=1)
run pretrain --data v --out run "${tiny[@]}"
run probe --checkpoint run --data v/train.csv --val v/test.csv --out lists
run probe --checkpoint run --data y --group-regex '/([^_]+)_' --out grouped
[ "$(sed 1d grouped/split.csv | cut -d, -f3 | sort -u | wc -l)" -eq "$(sed 1d y/manifest.csv | cut -d, -f4 | sort -u | wc -l)" ] ||
    fail "--group-regex does not find the sources"
[ "$(sed 1d grouped/split.csv | cut -d, -f3,4 | sort -u | wc -l)" -eq "$(sed 1d grouped/split.csv | cut -d, -f3 | sort -u | wc -l)" ] ||
    fail "a source on both sides"

# What makes no sense
refused 1 "no such folder" synth --from nowhere --out refused
refused 2 "is not empty" synth --from in --out v
refused 2 "lies in the folder" synth --from in --out in/refused
refused 2 "must be even" synth --from in --out refused --frames 15
refused 2 "must be even" synth --from in --out refused --size 65
refused 2 "frames must be 4 to 128" synth --from in --out refused --frames 200
refused 2 "size must be 16 to 1024" synth --from in --out refused --size 2000
refused 2 "per-source must be 1" synth --from in --out refused --per-source 0
refused 2 "videos means nothing with --from" synth --from in --out refused --videos 8
refused 2 "per-source means nothing" synth --out refused --videos 8 --per-source 2
refused 2 "out DIR is missing" synth --from in
refused 1 "0 of $sources videos can be used.*; the first that cannot: one/" synth --from in --out refused --frames 128
mkdir few
: >few/empty.mp4
refused 1 "empty.mp4" synth --from few --out refused
cp in/one/*1.mp4 few/ 2>/dev/null || cp "$(find in/one -name '*.mp4' | sort | head -1)" few/
mkdir alone
cp "$(find few -size +1 -name '*.mp4' | sort | head -1)" alone/
refused 1 "1 of 1 videos can be used" synth --from alone --out refused --frames 8 --fps 24
if [ "$(id -u)" -ne 0 ]; then
    mkdir readonly && chmod a-w readonly
    refused 1 "readonly" synth --from in --out readonly/refused --frames 8 --fps 24
fi
exit $failed

#!/usr/bin/env bash
# jepa synth --physics: every pair is there, sound and of one size; what makes no sense is refused.
# (What the videos show: tests/video/test_physics.c.)
#   tests/experiments/test_synth_physics.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
export XDG_CACHE_HOME=$work/cache
after_refusal() { [ -e refused ] && fail "something is left: jepa $1"; }

run synth --out pairs --physics --pairs 4 --frames 32 --seed 3
expect "^4 pairs .* of each of 4 kinds (jump, shape, through, vanish)"
[ "$(wc -l <pairs/pairs.csv)" -eq 17 ] || fail "pairs.csv"
sed 1d pairs/pairs.csv | while IFS=, read -r kind pair possible impossible event switch occluder what scene; do
    [ "$possible" = "$(printf '%s/%s_%05d_possible.mp4' "$kind" "$kind" "$pair")" ] || echo "$possible"
    [ "$(stat -c %s "pairs/$possible")" -eq "$(stat -c %s "pairs/$impossible")" ] || echo "size of $impossible"
    [ "$event" -ge "$switch" ] && [ "$event" -lt 32 ] || echo "event $event"
    [ "$scene" -eq $((pair / 2)) ] || echo "scene $scene"
    case $kind-$occluder-$what in
    jump-pillar-across | jump-none-along | jump-none-across | shape-pillar-shape | shape-pillar-texture | \
        through-screen-left | through-screen-right | vanish-pillar-appears | vanish-pillar-vanishes) ;;
    *) echo "$kind $occluder $what" ;;
    esac
done >wrong
[ -s wrong ] && { fail "pairs.csv"; head -3 wrong; }
run inspect pairs
expect "32 usable, 0 unusable"
find pairs -name '*.partial' | grep -q . && fail "something half-written"

refused 2 "pairs N is missing" synth --physics --out refused
refused 2 "must be even" synth --physics --pairs 3 --out refused
refused 2 "pairs must be 2 to" synth --physics --pairs 0 --out refused
refused 2 "size must be 64 to" synth --physics --pairs 2 --size 32 --out refused
refused 2 "must be even" synth --physics --pairs 2 --size 65 --out refused
refused 2 "frames must be 32 to" synth --physics --pairs 2 --frames 16 --out refused
refused 2 "one of them" synth --physics --from pairs --out refused
refused 2 "videos means nothing with --physics" synth --physics --pairs 2 --videos 8 --out refused
refused 2 "per-source means nothing with --physics" synth --physics --pairs 2 --per-source 8 --out refused
refused 2 "pairs means nothing" synth --videos 8 --pairs 2 --out refused
refused 2 "pairs means nothing with --from" synth --from pairs --pairs 2 --out refused
refused 2 "is not empty" synth --physics --pairs 2 --out pairs
refused 1 "cannot" synth --physics --pairs 2 --out /proc/nothing
exit $failed

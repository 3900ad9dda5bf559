#!/usr/bin/env bash
# The network agrees with the published code's values; other kinds of reference are refused by name; a
# network that is slightly wrong does not pass.
#   tests/experiments/test_check_reference.sh JEPA
set -u
jepa=$1
reference=$(realpath "$(dirname "$0")/../..")/../shared/reference
if [ ! -d "$reference/vjepa1_tiny" ]; then
    echo "skipped: no reference values beside this checkout"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fail() { echo "FAILED: $*"; failed=1; }

for name in vjepa1_tiny vjepa2_tiny; do
    "$jepa" check-reference "$reference/$name" >"$work/out" || fail "$name does not pass"
    grep -q OVER "$work/out" && { fail "over the limit"; grep OVER "$work/out"; }
    tail -1 "$work/out"
done

for pair in attentive_probe_tiny:"attentive probe" attentive_probe_deep:"attentive probe" \
    ac_predictor_tiny:action-conditioned transforms:transforms nowhere:"no such folder"; do
    "$jepa" check-reference "$reference/${pair%%:*}" >"$work/out" 2>"$work/err" && fail "$pair was not refused"
    grep -q "${pair#*:}" "$work/err" || { fail "$pair: not refused by name"; cat "$work/err"; }
done

# A hundred-thousandth more on one learning rate: the trajectory notices.
cp -r "$reference/vjepa1_tiny" "$work/wrong"
chmod -R u+w "$work/wrong"
sed -i 's/"lr": 0.001,/"lr": 0.00100001,/' "$work/wrong/config.json"
"$jepa" check-reference "$work/wrong" >"$work/out"
[ $? -eq 1 ] || fail "another learning rate passes"
grep -q "trajectory.lr.*OVER" "$work/out" || fail "the learning rate is not named"
# A damaged weight file is refused.
head -c 200000 "$reference/vjepa1_tiny/weights.safetensors" >"$work/wrong/weights.safetensors"
"$jepa" check-reference "$work/wrong" >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || fail "damaged weights: not exit code 1"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "damaged weights: not one line"
exit $failed

#!/usr/bin/env bash
# The network agrees with the values of the published code, and of an independent one where there are
# no published ones; so do attentive probes. Other kinds of reference are refused by name; what is
# slightly wrong does not pass.
#   tests/experiments/test_check_reference.sh JEPA
set -u
source "$(dirname "$0")/program.sh"
own=$(realpath "$here/../jepa/reference")
reference=$(realpath "$here/../..")/../shared/reference

passes() {
    local folder=$1
    shift
    "$jepa" check-reference "$folder" "$@" >"$work/out" || fail "$folder does not pass $*"
    grep -q OVER "$work/out" && { fail "over the limit"; grep OVER "$work/out"; }
    echo "$(basename "$folder"): $(tail -1 "$work/out") $*"
}

# notices NAME SED STAGE: with another config.json that stage is over its limit.
notices() {
    rm -rf "$work/wrong"
    cp -r "$own/$1" "$work/wrong"
    sed -i "$2" "$work/wrong/config.json"
    cmp -s "$own/$1/config.json" "$work/wrong/config.json" && fail "$1: $2 changes nothing"
    "$jepa" check-reference "$work/wrong" >"$work/out"
    [ $? -eq 1 ] || fail "$1: $2 passes"
    grep -q "^$3 .*OVER" "$work/out" || fail "$1: $2: $3 is within its limit"
}

for folder in "$own"/*/; do
    passes "${folder%/}"
    passes "${folder%/}" --precision bfloat16
done
notices vjepa2_swiglu 's/"is_anneal": true/"is_anneal": false/' trajectory.lr
notices vjepa2_swiglu 's/"use_silu"/"rope_standard": true, "use_silu"/' target.block0
notices vjepa2_lengths 's/"wd": 0.04,/"wd": 0.05,/' trajectory.wd
notices vjepa2_frozen 's/"ipe_scale": 1.25/"ipe_scale": 1.25, "rope_standard": true/' target.block0
notices vjepa21_tiny 's/"rope_side": 16/"rope_side": 8/' target.block0
notices vjepa21_tiny 's/"lambda": 0.5/"lambda": 0.50001/' loss
notices ijepa_tiny 's/"smooth_l1": true/"loss_exp": 1/' loss
notices ijepa_tiny 's/"heads": 2/"heads": 1/' target.block0
sed 's/"vjepa2.1"/"vjepa3"/' "$own/vjepa21_tiny/config.json" >"$work/config.json"
cp -r "$own/vjepa21_tiny" "$work/unknown"
cp "$work/config.json" "$work/unknown/config.json"
"$jepa" check-reference "$work/unknown" >"$work/out" 2>"$work/err" && fail "an unknown family passes"
grep -q vjepa3 "$work/err" || fail "an unknown family: not by name"

if [ ! -d "$reference/vjepa1_tiny" ]; then
    echo "the published values of V-JEPA 1 and 2 are not beside this checkout: skipped"
    exit $failed
fi
for name in vjepa1_tiny vjepa2_tiny; do
    passes "$reference/$name"
    passes "$reference/$name" --precision bfloat16
done

# The same weights by other ways give the same table: as the published code saved them, imported, and
# exported again; the certificate says what was compared.
for pair in vjepa1_tiny:checkpoint.pth.tar vjepa2_tiny:checkpoint.pt; do
    folder=$reference/${pair%%:*}
    file=$folder/${pair#*:}
    "$jepa" check-reference "$folder" >"$work/own"
    "$jepa" import "$file" --out "$work/${pair%%:*}" >"$work/said" 2>&1 || { fail "import $file"; cat "$work/said"; }
    mkdir -p "$work/out-of"
    ways=("$file" "$work/${pair%%:*}" "$work/out-of/exported.safetensors" "$work/again")
    rm -rf "$work/out-of/exported.safetensors" "$work/hf" "$work/again" "$work/again-hf"
    "$jepa" export "$work/${pair%%:*}" --format safetensors --out "$work/out-of/exported.safetensors" >"$work/said" 2>&1 ||
        { fail "export of $file"; cat "$work/said"; }
    positions=()
    [ "${pair%%_*}" = vjepa1 ] && positions=(--positions sincos)
    "$jepa" import "$work/out-of/exported.safetensors" --out "$work/again" --heads 3 --pred-heads 3 --frames 8 --crop 64 \
        "${positions[@]}" >"$work/said" 2>&1 || { fail "import of what was exported from $file"; cat "$work/said"; }
    if [ "${pair%%_*}" = vjepa2 ]; then # the one that transformers has a class for
        "$jepa" export "$work/${pair%%:*}" --format hf --out "$work/hf" >"$work/said" 2>&1 || fail "export to a folder"
        "$jepa" import "$work/hf" --out "$work/again-hf" >"$work/said" 2>&1 || fail "import of that folder"
        ways+=("$work/hf" "$work/again-hf")
    fi
    for weights in "${ways[@]}"; do
        "$jepa" check-reference "$folder" --weights "$weights" --certificate "$work/certificate.json" \
            >"$work/out" || fail "$weights does not pass"
        diff <(grep -v "^weights from" "$work/out") "$work/own" >/dev/null || fail "$weights: another table"
        rows=$(tail -1 "$work/own" | cut -d' ' -f1)
        grep -q "\"within_limits\": $rows" "$work/certificate.json" || fail "$weights: the certificate"
        [ "$(grep -c '"stage"' "$work/certificate.json")" -eq "$rows" ] || fail "$weights: rows of it"
    done
done
"$jepa" check-reference "$reference/vjepa1_tiny" --weights "$work/vjepa2_tiny" >"$work/out" 2>"$work/err" &&
    fail "another model's weights pass"
[ "$(grep -c '^jepa' "$work/err")" -eq 1 ] || fail "another model's weights: not one line"

# Attentive probes: the same, their weights as a folder or a file, and a probe that is slightly wrong.
for name in attentive_probe_tiny attentive_probe_deep; do
    passes "$reference/$name"
    passes "$reference/$name" --perturb 1e-7
    "$jepa" check-reference "$reference/$name" --certificate "$work/certificate.json" >"$work/own" || fail "$name"
    rows=$(tail -1 "$work/own" | cut -d' ' -f1)
    [ "$(grep -c '"stage"' "$work/certificate.json")" -eq "$rows" ] || fail "$name: rows of the certificate"
    grep -q probe.safetensors "$work/certificate.json" || fail "$name: files of the certificate"
    "$jepa" check-reference "$reference/$name" --perturb 1e-4 >"$work/out"
    [ $? -eq 1 ] || fail "$name: weights changed by 1e-4 pass"
    rm -rf "$work/wrong"
    cp -r "$reference/$name" "$work/wrong"
    chmod -R u+w "$work/wrong"
    sed -i 's/"heads": 3/"heads": 4/' "$work/wrong/config.json"
    "$jepa" check-reference "$work/wrong" >"$work/out"
    [ $? -eq 1 ] || fail "$name: four heads pass"
    grep -q "expected.logits.*OVER" "$work/out" || fail "$name: four heads are not noticed in the outputs"
    sed -i 's/"heads": 4/"heads": 5/' "$work/wrong/config.json"
    "$jepa" check-reference "$work/wrong" >"$work/out" 2>"$work/err" && fail "$name: five heads pass"
    grep -q "cannot have 5 heads" "$work/err" || fail "$name: five heads: not one line"
    sed -i 's/"heads": 5/"heads": 3/; s/"tokens": 40/"tokens": 41/' "$work/wrong/config.json"
    "$jepa" check-reference "$work/wrong" >"$work/out" 2>"$work/err" && fail "$name: other sizes pass"
    grep -q "input.tokens has another shape" "$work/err" || fail "$name: other sizes: not one line"
    head -c 300000 "$reference/$name/probe.safetensors" >"$work/wrong/probe.safetensors"
    "$jepa" check-reference "$work/wrong" >"$work/out" 2>"$work/err" && fail "$name: damaged weights pass"
    [ "$(grep -c '^jepa' "$work/err")" -eq 1 ] || fail "$name: damaged weights: not one line"
done
"$jepa" check-reference "$reference/attentive_probe_tiny" --weights "$work/vjepa2_tiny" >"$work/out" 2>"$work/err" &&
    fail "a network's weights pass as a probe's"
[ "$(grep -c '^jepa' "$work/err")" -eq 1 ] || fail "a network's weights as a probe's: not one line"

for pair in ac_predictor_tiny:action-conditioned transforms:transforms nowhere:"no such folder"; do
    "$jepa" check-reference "$reference/${pair%%:*}" >"$work/out" 2>"$work/err" && fail "$pair was not refused"
    grep -q "${pair#*:}" "$work/err" || { fail "$pair: not refused by name"; cat "$work/err"; }
done

# A hundred-thousandth more on one learning rate: the trajectory notices.
rm -rf "$work/wrong"
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
[ "$(grep -c '^jepa' "$work/err")" -eq 1 ] || fail "damaged weights: not one line"
exit $failed

#!/usr/bin/env bash
# The program on an emulated GPU: what the published code computes, from kernel to trained weights; the
# same bytes when a run is repeated, stopped and resumed, launched as CUDA graphs, and on two GPUs through NCCL or one through
# the hosts' memory (both emulated over MPI).
#   tests/cuda/test_program.sh JEPA_EMULATED
set -u
jepa=$(realpath "$1")
shared=$(realpath "$(dirname "$0")/../../..")/shared/reference
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0
fail() { echo "FAILED: $*"; failed=1; }

if [ -d "$shared" ]; then
    for reference in vjepa1_tiny vjepa2_tiny; do
        for precision in float32 bfloat16; do
            "$jepa" check-reference "$shared/$reference" --device cuda --precision $precision >said 2>&1 ||
                { fail "$reference in $precision"; tail -3 said; }
            echo "$reference in $precision: $(tail -1 said)"
        done
    done
    JEPA_EMULATE_NO_CUDNN=1 "$jepa" check-reference "$shared/vjepa1_tiny" --device cuda --precision bfloat16 >said 2>&1 ||
        { fail "own attention in bfloat16"; tail -3 said; }
    grep -q "own kernels" said || fail "it does not say that cuDNN is missing"
else
    echo "no reference values here: not compared"
fi

tiny=(--device cuda --threads 1 --workers 1 --set data.crop_size=32 --set data.patch_size=8 --set data.num_frames=4
    --set data.batch_size=2 --set tasks_per_node=2 --set optimization.micro_batch=1
    --set model.embed_dim=192 --set model.depth=2 --set model.num_heads=3 --set model.pred_embed_dim=48
    --set model.pred_depth=1 --set model.pred_num_heads=1 --set meta.dtype=bfloat16
    --set optimization.ipe=2 --set optimization.epochs=2 --set optimization.lr=0.01 --set checkpoint.every=2 --set diagnostics.videos=2)
"$jepa" synth --out videos --videos 7 --size 32 --frames 20 >/dev/null 2>said ||
    { grep -q "without FFmpeg" said && { echo "training: skipped, there is no FFmpeg"; exit $failed; }; fail "synth"; }
train() { # RUN command...
    local run=$1
    shift
    "$@" "$jepa" pretrain --data videos --out "$run" "${tiny[@]}" >/dev/null 2>"$run.said" || { fail "$run"; cat "$run.said"; }
}
same() { diff <(cd one/step-4 && sha256sum -- *) <(cd "$1/step-4" && sha256sum -- *) || fail "other bytes: $1"; }
train one env
train again env
same again
# what the GPU says it gave away is what was planned
sed -n 's/.*MiB, \([0-9.]*\) of it on cuda:0.*/planned \1/p; s/.*cuda:0: \([0-9.]*\) MiB taken.*/taken \1/p' one.said |
    awk '{is[$1] = $2} END {exit !(is["taken"] > 0.9 * is["planned"] && is["taken"] < 1.02 * is["planned"])}' ||
    { fail "planned and taken"; cat one.said; }
train apart env JEPA_EMULATE_APART=1 # device memory that the host cannot touch
same apart
cp -r one resumed && rm -rf resumed/step-4
"$jepa" pretrain --resume --out resumed --device cuda >/dev/null 2>said || { fail "resumed"; cat said; }
same resumed
# as CUDA graphs: the same weights (the checkpoint's other file holds the recipe), also of clips of several
# lengths
same_weights() { # RUN RUN
    local file
    for file in model optimizer; do
        cmp "$1/step-4/$file.safetensors" "$2/step-4/$file.safetensors" || fail "other weights: $2"
    done
    grep -q "^CUDA graphs: passes that come again" "$2.said" || { fail "$2: no graphs"; cat "$2.said"; }
    grep -q "could not be captured" "$2.said" && { fail "$2: left without graphs"; cat "$2.said"; }
}
graphs=(--set meta.cuda_graphs=true)
plain_tiny=("${tiny[@]}")
tiny+=("${graphs[@]}") && train graphs env
same_weights one graphs
tiny=("${plain_tiny[@]}" --set model.use_rope=true --set "data.datasets_weights=[1, 1]" --set "data.dataset_fpcs=[4, 2]"
    --set "data.datasets=[videos, videos]" --set mask.batch=packed --set meta.dtype=float32)
train lengths env
tiny+=("${graphs[@]}") && train lengths_graphs env
same_weights lengths lengths_graphs
tiny=("${plain_tiny[@]}")
grep -q "^cuDNN" one/plans.txt && grep -q "^cuBLASLt" one/plans.txt || fail "plans.txt"
# the target encoder in FP8: the same bytes again and resumed, other ones than without; and without where the
# library has none
fp8() { # RUN command...
    local run=$1
    shift
    "$@" "$jepa" pretrain --data videos --out "$run" "${tiny[@]}" --set model.target_precision=fp8 >/dev/null 2>"$run.said" ||
        { fail "$run"; cat "$run.said"; }
}
networks() { sha256sum <"$1/step-4/model.safetensors"; }
fp8 eight env
fp8 eight-again env
diff -r eight/step-4 eight-again/step-4 || fail "FP8: other bytes"
plain_tiny=("${tiny[@]}")
tiny+=("${graphs[@]}") && fp8 eight-graphs env
same_weights eight eight-graphs
tiny=("${plain_tiny[@]}")
cp -r eight eight-resumed && rm -rf eight-resumed/step-4
"$jepa" pretrain --resume --out eight-resumed --device cuda >/dev/null 2>said || { fail "FP8 resumed"; cat said; }
diff -r eight/step-4 eight-resumed/step-4 || fail "FP8: other bytes when resumed"
grep -q "linear layers in e4m3" eight.said && grep -q "e4m3 to float32, added to, bias" eight/plans.txt ||
    fail "FP8: not said, or not in plans.txt"
grep -q e4m3 one/plans.txt && fail "FP8 where nobody asked for it"
[ "$(networks one)" != "$(networks eight)" ] || fail "FP8 changes nothing"
fp8 none env JEPA_EMULATE_NO_FP8=1
grep -q "stays in bfloat16" none.said || fail "it does not say that there is no FP8"
[ "$(networks one)" = "$(networks none)" ] || fail "without FP8 it is not what it was"
# diagnoses change no bit; a run that goes back does so on any number of GPUs
back=(--set diagnostics.every=2 --set diagnostics.videos=4 --set sentry.action=rewind --set sentry.rankme_min=1000 --set sentry.most_rewinds=1)
plain_tiny=("${tiny[@]}") && tiny+=(--set diagnostics.every=0)
train blind env
tiny=("${plain_tiny[@]}" "${back[@]}")
[ "$(networks one)" = "$(networks blind)" ] || fail "diagnoses change the weights"
went_back() { # RUN command...
    local run=$1
    shift
    "$@" "$jepa" pretrain --data videos --out "$run" "${tiny[@]}" >/dev/null 2>"$run.said"
    grep -q "^jepa pretrain: the sentry stopped the run after step 2:" "$run.said" || { fail "$run"; cat "$run.said"; }
    [ "$(cut -d, -f1-4 "$run/rewinds.csv" | tail -1)" = "1,2,0,0.5" ] || fail "$run: rewinds"
}
went_back back-apart env JEPA_EMULATE_APART=1
if command -v mpirun >/dev/null && ldd "$jepa" | grep -q libmpi; then
    went_back back-two env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 ASAN_OPTIONS=detect_leaks=0 mpirun --oversubscribe -n 2
    diff -r back-apart/step-2 back-two/step-2 || fail "going back on two GPUs: other bytes"
    diff <(cut -d, -f1-27 back-apart/diagnostics.csv) <(cut -d, -f1-27 back-two/diagnostics.csv) || fail "diagnoses on two GPUs"
fi
tiny=("${plain_tiny[@]}")
if command -v mpirun >/dev/null && ldd "$jepa" | grep -q libmpi; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export ASAN_OPTIONS=detect_leaks=0 # Open MPI's, from modules that are unloaded at the end
    train two mpirun --oversubscribe -n 2
    same two
    grep -q "through NCCL" two.said || fail "not through NCCL"
    JEPA_EMULATE_ONE_CARD=1 train shared mpirun --oversubscribe -n 2 -x JEPA_EMULATE_ONE_CARD
    same shared
    grep -q "hosts' memory (ranks share a GPU" shared.said || fail "not through the hosts' memory"
else
    echo "ranks: skipped, there is no MPI"
fi
# a GPU that is too small is known before anything is taken
JEPA_EMULATE_MIB=180 "$jepa" pretrain --data videos --out small "${tiny[@]}" >/dev/null 2>said && fail "52 MiB are enough?"
grep -q "cuda:0 has" said || { fail "the GPU's memory"; cat said; }
[ $failed = 0 ] && echo "passed"
exit $failed

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
    --set optimization.ipe=2 --set optimization.epochs=2 --set optimization.lr=0.01 --set checkpoint.every=2)
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
cp -r one resumed && rm -rf resumed/step-4
"$jepa" pretrain --resume --out resumed --device cuda >/dev/null 2>said || { fail "resumed"; cat said; }
same resumed
# as CUDA graphs: the same weights (the checkpoint's other file holds the recipe), also of clips of several
# lengths and where cuDNN is missing
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
if command -v mpirun >/dev/null && ldd "$jepa" | grep -q libmpi; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
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
JEPA_EMULATE_MIB=20 "$jepa" pretrain --data videos --out small "${tiny[@]}" >/dev/null 2>said && fail "20 MiB are enough?"
grep -q "cuda:0 has 20" said || { fail "the GPU's memory"; cat said; }
[ $failed = 0 ] && echo "passed"
exit $failed

# Videos and a run of a moment, for tests of commands that show what a checkpoint does with a video; no test by
# itself. Sourced after program.sh, it leaves videos/, run/ and
#   small   the run's settings
#   video   the first of the videos
# A test that sources it names "jepa synth --out DIR" itself: by that CMake knows that it needs FFmpeg.
small=(--set data.batch_size=4 --set data.num_frames=8 --set data.crop_size=32 --set optimization.ipe=2
    --set optimization.epochs=1 --set optimization.warmup=0)
run synth --out videos --videos 8 --size 48 --frames 40 --seed 3
run pretrain --data videos --out run "${small[@]}"
video=$(find videos -name '*.mp4' | sort | head -n 1)

# there FOLDER FILES...: the last `run` wrote them, and printed that it did.
there() {
    local folder=$1 file
    shift
    for file in "$@"; do
        [ -s "$folder/$file" ] || fail "no $folder/$file"
        grep -qx "$folder/$file" out.txt || fail "$folder/$file is not in the list"
    done
}

# refuses_to_show COMMAND PATTERN: what a command that shows predictions refuses: a video shorter than a clip,
# networks without a predictor (which it says with the pattern) or with one that was never trained, and a
# folder it cannot write into. Leaves short/ (that video), nopredictor/ and imported/ (those networks),
# encoder.safetensors (the weights of the latter).
refuses_to_show() {
    local command=$1 without=$2
    run synth --out short --videos 1 --size 48 --frames 6
    refused 1 "6 frames .* fewer than a clip" "$command" --checkpoint run --video "$(find short -name '*.mp4')" --out no
    [ ! -e no ] || fail "something was begun"
    cat >levjepa.yaml <<'YAML'
objective: sigreg
data: {batch_size: 4, num_frames: 8, sampling_rate: 2, tubelet_size: 2, crop_size: 48, patch_size: 16}
sigreg: {token_drop_rate: 0.5, local_crops_number: 2, local_size: 32, hidden_dim: 32, output_dim: 16, num_proj: 16}
model: {model_name: null, use_rope: true, embed_dim: 48, depth: 2, num_heads: 2}
optimization: {ipe: 2, epochs: 1, warmup: 0, ema: [0.99, 0.99]}
YAML
    run pretrain --data videos --recipe levjepa.yaml --out nopredictor
    refused 2 "$without" "$command" --checkpoint nopredictor --video "$video" --out no
    run export run --format safetensors --network target --out encoder.safetensors
    run import encoder.safetensors --out imported --heads 3 --frames 8 --crop 32
    refused 2 "no trained predictor" "$command" --checkpoint imported --video "$video" --out no
    if [ "$(id -u)" -ne 0 ]; then
        mkdir locked && chmod a-w locked
        refused 1 "cannot write into this folder" "$command" --checkpoint run --video "$video" --out locked
    fi
    touch file
    refused 1 "file" "$command" --checkpoint run --video "$video" --out file/pictures
}

#!/usr/bin/env bash
# notebooks/jepa.py over libjepa, and notebooks/files.py: arrays in and out, what is refused, and that
# both say the same as the program. Skipped without NumPy or msgpack (Debian: python3-numpy,
# python3-msgpack), and with sanitizers, which Python does not load.
#   tests/experiments/test_binding.sh JEPA
set -u
source "$(dirname "$0")/library.sh"
python_with "numpy, msgpack" "python3-numpy python3-msgpack"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
tiny=(--set data.num_frames=8 --set data.crop_size=32 --set data.batch_size=2 --set optimization.ipe=3
    --set optimization.epochs=1 --set optimization.warmup=0)
{
    "$jepa" synth --out videos --videos 8 --size 48 --frames 20 --seed 2 &&
        "$jepa" pretrain --data videos --out run "${tiny[@]}" &&
        "$jepa" features --checkpoint run --data videos --segments 2 --out half &&
        "$jepa" features --checkpoint run --data videos --segments 2 --type bfloat16 --shard-clips 5 --out brain &&
        "$jepa" features --checkpoint run --data videos --segments 2 --pooled --out pooled
} >out.txt 2>&1 || { cat out.txt; echo "FAILED: the program"; exit 1; }
JEPA_LIBRARY=$library PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../../notebooks "$python" "$here/check_binding.py"

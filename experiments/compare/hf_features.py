"""Token features of an exported folder in transformers, beside those of the published code.

    jepa import REFERENCE/checkpoint.pt --out CHECKPOINT
    jepa export CHECKPOINT --format hf --out EXPORTED [--network target|encoder]
    python hf_features.py EXPORTED REFERENCE [--limit 1e-5]

REFERENCE holds batches.safetensors (batch0.clips [B,3,T,H,W], normalised float32) and
forward_backward.safetensors (target.out [B,N,D]: what the published code's target encoder gives after
its norm; `jepa check-reference REFERENCE` holds this program against it). Where there are also
encoder.out.M and predictor.out.M with batch0.masks_enc.M and masks_pred.M, [B,n], the predictor is
compared on its own: transformers runs its one encoder over the whole clip before it masks, so it is
given the published context tokens. Needs torch, transformers and safetensors. Prints
max |HF - reference| / max |reference| and exits with 1 above the limit, or when a weight of the folder
has no place in the model or the model needs one that is not there.
"""
import argparse
import sys

import safetensors
import torch
import transformers
from safetensors.torch import load_file


def relative(out, wanted):
    return ((out - wanted.reshape(out.shape)).abs().max() / wanted.abs().max()).item()


def predictor_errors(model, batches, values):
    """Relative error for each mask setting M."""
    tokens = model.predictor.embeddings.mask_tokens
    with torch.no_grad():
        # transformers always takes token 1 modulo their number; the published code, with one clip
        # length, token 0
        tokens[1 % len(tokens)] = tokens[0]
    m = 0
    while f"predictor.out.{m}" in values and f"batch0.masks_enc.{m}" in batches:
        context, target = batches[f"batch0.masks_enc.{m}"], batches[f"batch0.masks_pred.{m}"]
        seen = values[f"encoder.out.{m}"].reshape(*context.shape, model.config.hidden_size)
        most = int(max(context.max(), target.max())) + 1
        whole = torch.zeros(len(context), most, seen.shape[-1])
        whole.scatter_(1, context.unsqueeze(-1).expand_as(seen), seen)
        with torch.no_grad():
            out = model.predictor(whole, [context], [target]).last_hidden_state
        yield relative(out, values[f"predictor.out.{m}"])
        m += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("exported", help="folder of jepa export --format hf")
    parser.add_argument("reference", help="folder with batches and forward_backward.safetensors")
    parser.add_argument("--batches", default="batches.safetensors")
    parser.add_argument("--values", default="forward_backward.safetensors")
    parser.add_argument("--clips", default="batch0.clips", help="tensor of --batches, [B,3,T,H,W]")
    parser.add_argument("--features", default="target.out", help="tensor of --values, [B,N,D]")
    parser.add_argument("--limit", type=float, default=1e-5)
    a = parser.parse_args()

    model, loading = transformers.VJEPA2Model.from_pretrained(a.exported, dtype=torch.float32,
                                                              attn_implementation="eager",
                                                              output_loading_info=True)
    misfits = {k: v for k, v in loading.items() if v}
    model.eval()
    batches, values = load_file(f"{a.reference}/{a.batches}"), load_file(f"{a.reference}/{a.values}")
    clips, wanted = batches[a.clips], values[a.features]
    with torch.no_grad():
        out = model(pixel_values_videos=clips.permute(0, 2, 1, 3, 4).contiguous(),
                    skip_predictor=True).last_hidden_state
    error = relative(out, wanted)
    head = model.config.hidden_size // model.config.num_attention_heads
    print(f"versions         transformers {transformers.__version__}, torch {torch.__version__}, "
          f"safetensors {safetensors.__version__}")
    print(f"model            {model.config.num_hidden_layers} blocks of {model.config.hidden_size} "
          f"channels, heads of {head}")
    print(f"misfits          {misfits or 'none'}")
    print(f"features         {list(out.shape)}, largest {wanted.abs().max().item():.4f}")
    print(f"max relative     {error:.2e}   (limit {a.limit:.0e})")
    errors = [error]
    for m, error in enumerate(predictor_errors(model, batches, values)):
        print(f"predictor {m}      {error:.2e}")
        errors.append(error)
    sys.exit(bool(misfits) or not all(e <= a.limit for e in errors))


if __name__ == "__main__":
    main()

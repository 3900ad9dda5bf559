"""Writes the reference values of V-JEPA 2.1 in vjepa21_tiny/: gradients by automatic
differentiation, float32 on one CPU thread.

    python make_vjepa21.py FOLDER

A network of its own, written from what the published one computes (facebookresearch/vjepa2,
app/vjepa_2_1: models/vision_transformer.py, models/predictor.py, models/utils/modules.py,
models/utils/masks_dist.py, train.py), with nothing of jepa.c in it. Parameters sit in one
dictionary under the published names. Letters: B samples, N tokens, D width, H heads.

One deviation: distances and positions take the true rows and columns of a grid that is not square,
where the published predictor takes a square for granted.
"""
import json
import math
import os
import struct
import sys

import torch
import torch.nn.functional as F

CONFIG = {
    "family": "vjepa2.1", "crop": [12, 16], "patch": 4, "frames": 4, "tubelet": 2,
    "dim": 24, "depth": 4, "heads": 2, "mlp_ratio": 1,
    "pred_dim": 12, "pred_depth": 2, "pred_heads": 1, "rope_side": 16,
    "mask": [{"context": 7, "target": 9}, {"context": 11, "target": 5}],
    "image_mask": [{"context": 5, "target": 4}, {"context": 3, "target": 6}],
    "batch": 2, "nbatches": 2, "loss_exp": 1.0, "lambda": 0.5,
    "ipe": 4, "epochs": 2, "ipe_scale": 1.25, "warmup": 0.5, "start_lr": 1e-4, "lr": 5e-4,
    "final_lr": 5e-4, "wd": 0.4, "final_wd": 0.4, "ema": [0.9, 0.9],
    "limit_loss": 2e-6, "limit_final": 5e-5,
}
C = CONFIG
HEIGHT, WIDTH = (side // C["patch"] for side in C["crop"])


# Parameters


def block_shapes(prefix, depth, dim):
    hidden = C["mlp_ratio"] * dim
    for i in range(depth):
        name = f"{prefix}.{i}."
        for layer, shape in (("norm1", (dim,)), ("attn.qkv", (3 * dim, dim)),
                             ("attn.proj", (dim, dim)), ("norm2", (dim,)),
                             ("mlp.fc1", (hidden, dim)), ("mlp.fc2", (dim, hidden))):
            yield name + layer + ".weight", shape
            yield name + layer + ".bias", shape[:1]


def shapes():
    d, dp, p = C["dim"], C["pred_dim"], C["patch"]
    yield "encoder.img_mod_embed", (1, 1, d)
    yield "encoder.video_mod_embed", (1, 1, d)
    for name, frames in (("patch_embed", C["tubelet"]), ("patch_embed_img", 1)):
        yield f"encoder.{name}.proj.weight", (d, 3, frames, p, p)
        yield f"encoder.{name}.proj.bias", (d,)
    yield from block_shapes("encoder.blocks", C["depth"], d)
    for k in range(4):
        yield f"encoder.norms_block.{k}.weight", (d,)
        yield f"encoder.norms_block.{k}.bias", (d,)
    for m in range(len(C["mask"])):
        yield f"predictor.mask_tokens.{m}", (1, 1, dp)
    yield "predictor.img_mod_embed", (1, 1, dp)
    yield "predictor.video_mod_embed", (1, 1, dp)
    for name, shape in (("embed.0", (d, 4 * d)), ("embed.2", (dp, d)), ("norm", (dp,)),
                        ("proj", (4 * d, dp)), ("proj_context", (4 * d, dp))):
        yield f"predictor.predictor_{name}.weight", shape
        yield f"predictor.predictor_{name}.bias", shape[:1]
    yield from block_shapes("predictor.predictor_blocks", C["pred_depth"], dp)


def parameters():
    """All of them random, norms and biases too, so that none hides behind a 0 or a 1."""
    random = torch.Generator().manual_seed(21)
    weights = {}
    for name, shape in shapes():
        value = torch.randn(shape, generator=random)
        if "norm" in name and name.endswith("weight"):
            value = 1 + 0.1 * value
        else:
            value = value * (0.1 if len(shape) == 1 else 0.15)
        weights[name] = value.requires_grad_()
    return weights


# The networks


def places(tokens):
    """Token numbers -> time, row, column."""
    plane = HEIGHT * WIDTH
    return tokens // plane, tokens % plane // WIDTH, tokens % WIDTH


def rotate(x, positions):
    """x[B][H][N][head]: the pairs of a third of the channels turn by each axis's position."""
    width = x.shape[-1] // 3 // 2 * 2
    speeds = 10000.0 ** (-torch.arange(width // 2) / (width / 2))
    parts = []
    for axis, position in enumerate(positions):
        pair = x[..., axis * width:(axis + 1) * width].unflatten(-1, (-1, 2))
        angle = position[:, None, :, None] * speeds
        c, s = angle.cos(), angle.sin()
        parts.append(torch.stack((pair[..., 0] * c - pair[..., 1] * s,
                                  pair[..., 1] * c + pair[..., 0] * s), -1).flatten(-2))
    return torch.cat(parts + [x[..., 3 * width:]], -1)


def block(x, w, name, heads, tokens):
    def layer(kind, y):
        return F.linear(y, w[f"{name}.{kind}.weight"], w[f"{name}.{kind}.bias"])

    def norm(kind):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.{kind}.weight"], w[f"{name}.{kind}.bias"],
                            1e-6)

    time, row, column = places(tokens)
    side = C["rope_side"] - 1
    positions = (time.float(), row * side / (HEIGHT - 1), column * side / (WIDTH - 1))
    q, k, v = layer("attn.qkv", norm("norm1")).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = rotate(q, positions), rotate(k, positions)
    attention = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
    x = x + layer("attn.proj", attention.transpose(1, 2).flatten(-2))
    return x + layer("mlp.fc2", F.gelu(layer("mlp.fc1", norm("norm2"))))


def take(x, tokens):
    return x.gather(1, tokens[..., None].expand(-1, -1, x.shape[-1]))


def encode(w, clips, tokens=None, stages=None):
    """The four levels side by side, [B][N][4 D]; only `tokens` [B][n] where given."""
    picture = clips.shape[2] == 1
    name = "encoder.patch_embed_img" if picture else "encoder.patch_embed"
    kernel = w[name + ".proj.weight"]
    x = F.conv3d(clips, kernel, w[name + ".proj.bias"], kernel.shape[2:]).flatten(2).transpose(1, 2)
    if stages is not None:
        stages["target.patch_embed"] = x
    x = x + w["encoder.img_mod_embed" if picture else "encoder.video_mod_embed"]
    if tokens is None:
        tokens = torch.arange(x.shape[1]).expand(len(x), -1)
    else:
        x = take(x, tokens)
    levels = []
    for i in range(C["depth"]):
        x = block(x, w, f"encoder.blocks.{i}", C["heads"], tokens)
        if stages is not None:
            stages[f"target.block{i}"] = x
        if (i + 1) % (C["depth"] // 4) == 0:
            norm = f"encoder.norms_block.{len(levels)}"
            levels.append(F.layer_norm(x, x.shape[-1:], w[norm + ".weight"], w[norm + ".bias"],
                                       1e-6))
    return torch.cat(levels, -1)


def predict(w, context, seen, hidden, picture):
    """Context levels [B][n][4 D] of tokens `seen` -> predictions at `hidden` and at `seen`."""
    def layer(kind, y):
        name = f"predictor.predictor_{kind}"
        return F.linear(y, w[name + ".weight"], w[name + ".bias"])

    x = layer("embed.2", F.gelu(layer("embed.0", context)))
    # one clip length, so the mask token of length 0
    x = torch.cat((x, w["predictor.mask_tokens.0"].expand(len(x), hidden.shape[1], -1)), 1)
    x = x + w["predictor.img_mod_embed" if picture else "predictor.video_mod_embed"]
    tokens = torch.cat((seen, hidden), 1)
    for i in range(C["pred_depth"]):
        x = block(x, w, f"predictor.predictor_blocks.{i}", C["pred_heads"], tokens)
    x = F.layer_norm(x, x.shape[-1:], w["predictor.predictor_norm.weight"],
                     w["predictor.predictor_norm.bias"], 1e-6)
    n = seen.shape[1]
    return layer("proj", x[:, n:]), layer("proj_context", x[:, :n])


def nearness(seen, hidden):
    """[B][n]: 1 / sqrt(distance, in tokens, from each seen token to the nearest hidden one)."""
    a, b = (torch.stack(places(t), -1).double() for t in (seen, hidden))
    square = (a[:, :, None] - b[:, None]).square().sum(-1).amin(-1)
    return square.pow(-0.25).float()


def loss_of(w, teacher, batch, stages=None):
    clips, masks = batch
    picture = clips.shape[2] == 1
    with torch.no_grad():
        out = encode(teacher, clips, stages=stages)
        h = F.layer_norm(out.unflatten(-1, (4, -1)), (C["dim"],)).flatten(-2)  # level by level
    total, context_total = 0, 0
    for m, (seen, hidden) in enumerate(masks):
        context = encode(w, clips, seen)
        z, zc = predict(w, context, seen, hidden, picture)
        targets, context_targets = take(h, hidden), take(h, seen)
        total = total + (z - targets).abs().mean() / len(masks)
        near = nearness(seen, hidden)[..., None]
        context_total = context_total + ((zc - context_targets).abs() * near).mean() / len(masks)
        if stages is not None:
            stages.update({f"encoder.out.{m}": context, f"predictor.out.{m}": z,
                           f"targets.{m}": targets, f"predictor.context.{m}": zc,
                           f"context_targets.{m}": context_targets})
    if stages is not None:
        stages.update({"target.out": out, "target.layer_norm": h, "loss_targets": total,
                       "loss_context": context_total})
    return total + C["lambda"] * context_total


# Data, training, files


def draw(random, frames, sizes):
    tokens = (frames // C["tubelet"] or 1) * HEIGHT * WIDTH
    clips = torch.randn((C["batch"], 3, frames, *C["crop"]), generator=random)
    masks = []
    for size in sizes:
        order = torch.stack([torch.randperm(tokens, generator=random) for _ in range(C["batch"])])
        n = size["context"]
        masks.append((order[:, :n].sort(1)[0], order[:, n:n + size["target"]].sort(1)[0]))
    return clips, masks


def gradients(w, teacher, batch, prefix, wanted):
    """Stages (those whose names begin with `wanted`), loss and gradients of one batch, by name."""
    stages = {}
    loss = loss_of(w, teacher, batch, stages)
    loss.backward()
    values = {prefix + k: v for k, v in stages.items() if k.startswith(wanted)}
    values[prefix + "loss"] = loss
    for name, value in w.items():
        if value.grad is not None:
            values[f"{prefix}grad.{name}"] = value.grad
            value.grad = None
    return {k: v.detach().clone() for k, v in values.items()}


def train(w, teacher, batches):
    """The whole run; a tensor without a gradient is left alone by AdamW. Columns by step."""
    def decays(name, value):
        return "bias" not in name and value.dim() > 1

    named = w.items()
    optimiser = torch.optim.AdamW([
        {"params": [v for k, v in named if decays(k, v)], "weight_decay": C["wd"]},
        {"params": [v for k, v in named if not decays(k, v)], "weight_decay": 0}],
        betas=(0.9, 0.999), eps=1e-8)
    columns = {"loss": [], "lr": [], "wd": [], "momentum": []}
    warm = int(C["warmup"] * C["ipe"])
    for step in range(C["epochs"] * C["ipe"]):
        at = step + 1  # as published, schedules advance before the step; the peak is held
        lr = C["lr"]
        if at < warm:
            lr = C["start_lr"] + at / warm * (C["lr"] - C["start_lr"])
        for group in optimiser.param_groups:
            group["lr"] = lr
        loss = loss_of(w, teacher, batches[step % len(batches)])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        momentum = C["ema"][0]
        with torch.no_grad():
            for name, value in teacher.items():
                value.mul_(momentum).add_(w[name], alpha=1 - momentum)
        for column, value in zip(columns.values(), (loss.item(), lr, C["wd"], momentum)):
            column.append(value)
    return {f"trajectory.{k}": torch.tensor(v, dtype=torch.float64) for k, v in columns.items()}


def write(path, tensors):
    kinds = {torch.float64: "F64", torch.int64: "I64", torch.float32: "F32"}
    order = sorted(tensors, key=lambda k: list(kinds).index(tensors[k].dtype))  # wide ones aligned
    header, at, data = {}, 0, []
    for name in order:
        bytes_ = tensors[name].detach().contiguous().numpy().tobytes()
        header[name] = {"dtype": kinds[tensors[name].dtype], "shape": list(tensors[name].shape),
                        "data_offsets": [at, at + len(bytes_)]}
        at += len(bytes_)
        data.append(bytes_)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def main(folder):
    torch.set_num_threads(1)
    os.makedirs(folder, exist_ok=True)
    w = parameters()
    teacher = {k: v.detach().clone() for k, v in w.items() if k.startswith("encoder.")}
    random = torch.Generator().manual_seed(22)
    batches = [draw(random, C["frames"], C["mask"]) for _ in range(C["nbatches"])]
    pictures = draw(random, 1, C["image_mask"])
    named = {}
    for name, (clips, masks) in [(f"batch{k}", b) for k, b in enumerate(batches)] + [
            ("picture", pictures)]:
        named[name + ".clips"] = clips
        for m, (seen, hidden) in enumerate(masks):
            named[f"{name}.masks_enc.{m}"], named[f"{name}.masks_pred.{m}"] = seen, hidden
    write(f"{folder}/weights.safetensors", {k: v.detach().clone() for k, v in w.items()})
    write(f"{folder}/batches.safetensors", named)
    write(f"{folder}/forward_backward.safetensors",
          gradients(w, teacher, batches[0], "", "")
          | gradients(w, teacher, pictures, "picture.", ("target.patch_embed", "loss")))
    run = train(w, teacher, batches)
    final = {f"final.{k}": v for k, v in w.items()}
    final |= {f"final.target_{k}": v for k, v in teacher.items()}
    write(f"{folder}/trajectory.safetensors", run | final)
    with open(f"{folder}/config.json", "w") as file:
        json.dump(CONFIG, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])

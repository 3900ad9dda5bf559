"""The training step of step_bench, written in PyTorch: the same networks, weights, clips and masks.

    step_bench RECIPE.yaml --set mask.batch=truncate --twin FOLDER ...
    python pytorch_twin.py FOLDER [--dtype float32|bfloat16] [--compile] [--threads N] [--steps N]
                           [--warmup N] [--batch N] [--same-masks] [--adamw fused|foreach]
                           [--patch linear|conv] [--profile] [--device cpu|cuda] [--micro N]

The step is the published one (facebookresearch/jepa app/vjepa/train.py): the target encoder on all
tokens without gradients, layer norm of its output; the context encoder and the predictor once for
each mask setting, on [B, K, D]; L1; one backward pass; gradients of each network clipped; AdamW;
moving average. What is faster is preferred to what is published: patches are cut once a step and
embedded by a matrix product (--patch conv: the convolution of every clip, once for each pass, as
published), optimiser and average work on lists of tensors. bfloat16 is autocast, as published.

On a GPU steps are queued one after another and timed by events, nothing is waited for inside them;
clips come from pinned memory in each step; attention is PyTorch's own choice (flash or cuDNN).
--micro N: the batch in parts of N clips, gradients added up, where it does not fit at once.

With equal masks, the losses of the first steps are those of step_bench to float32 rounding: it is
the same work. The last line is

    result MEDIAN_MS MIN_MS CPU_S PEAK_MIB TFLOP GFLOP/S

as step_bench prints it: the operations are those that it counted, and memory is the peak of resident memory
of the process, the interpreter and its libraries (printed first) included.
"""
import argparse
import json
import os
import statistics
import struct
import time

import torch
import torch.nn.functional as F
from torch import nn


def peak_mib(key="VmHWM"):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1024


def read_safetensors(path):
    """Name to float32 tensor."""
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + x for x in entry["data_offsets"])
        flat = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def sine_cosine(grid, width, uniform):
    """Fixed positions [1, N, D]: sines and cosines of time, row and column side by side."""
    third = -(-width // 6) * 2
    shares = (third, third, third) if uniform else (width // 2, width // 4, width // 4)
    places = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in grid))
    columns = []
    for axis, share in enumerate(shares):
        half = share // 2
        frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = places[:, axis:axis + 1] * frequency
        columns += [angle.sin(), angle.cos()]
    return torch.cat(columns, 1)[:, :width].float().unsqueeze(0)


def take(x, tokens):
    """Rows `tokens` [B, K] of x [B or 1, N, D]."""
    index = tokens.unsqueeze(-1).expand(-1, -1, x.shape[-1])
    return x.expand(tokens.shape[0], -1, -1).gather(1, index)


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, hidden)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, size, dim):
        super().__init__()
        self.proj = nn.Conv3d(3, dim, size, stride=size)


class Encoder(nn.Module):
    def __init__(self, s, grid):
        super().__init__()
        self.patch_embed = PatchEmbed((s["tubelet"], s["patch"], s["patch"]), s["dim"])
        self.blocks = nn.ModuleList(Block(s["dim"], s["heads"], s["hidden"])
                                    for _ in range(s["depth"]))
        self.norm = nn.LayerNorm(s["dim"], eps=1e-6)
        self.register_buffer("position", sine_cosine(grid, s["dim"], s["uniform_power"]), False)

    def forward(self, clips, patches, tokens=None):
        """[B, N, D], or the encoding of tokens [B, K] alone."""
        proj = self.patch_embed.proj
        if patches is None:
            x = proj(clips).flatten(2).transpose(1, 2) + self.position
            x = x if tokens is None else take(x, tokens)
        else:
            x = patches if tokens is None else take(patches, tokens)
            x = F.linear(x, proj.weight.flatten(1), proj.bias)
            x = x + (self.position if tokens is None else take(self.position, tokens))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Predictor(nn.Module):
    def __init__(self, s, grid):
        super().__init__()
        dim = s["pred_dim"]
        self.predictor_embed = nn.Linear(s["dim"], dim)
        self.mask_tokens = nn.ParameterList(nn.Parameter(torch.zeros(1, 1, dim))
                                            for _ in range(s["settings"]))
        self.predictor_blocks = nn.ModuleList(Block(dim, s["pred_heads"], s["pred_hidden"])
                                              for _ in range(s["pred_depth"]))
        self.predictor_norm = nn.LayerNorm(dim, eps=1e-6)
        self.predictor_proj = nn.Linear(dim, s["dim"])
        self.register_buffer("position", sine_cosine(grid, dim, s["uniform_power"]), False)

    def forward(self, x, context, target, setting):
        x = self.predictor_embed(x) + take(self.position, context)
        y = self.mask_tokens[setting] + take(self.position, target)
        x = torch.cat([x, y], 1)
        for block in self.predictor_blocks:
            x = block(x)
        return self.predictor_proj(self.predictor_norm(x[:, context.shape[1]:]))


def cut_patches(clips, s):
    """[B, 3, frames, height, width] -> [B, N, P], as a convolution's weights lie."""
    b, c, frames, height, width = clips.shape
    t, p = s["tubelet"], s["patch"]
    x = clips.view(b, c, frames // t, t, height // p, p, width // p, p)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b, -1, c * t * p * p)


def parameter_groups(*networks):
    """Decayed: neither a bias nor one-dimensional."""
    named = [item for network in networks for item in network.named_parameters()]
    flat = [p for name, p in named if p.ndim == 1 or name.endswith("bias")]
    rest = [p for name, p in named if not (p.ndim == 1 or name.endswith("bias"))]
    return [{"params": rest, "decays": True}, {"params": flat, "decays": False}]


class Step:
    def __init__(self, sizes, arguments, tensors, pixels):
        s, self.arguments = sizes, arguments
        self.sizes = s
        grid = (s["frames"] // s["tubelet"], s["height"] // s["patch"], s["width"] // s["patch"])
        self.encoder, self.target = Encoder(s, grid), Encoder(s, grid)
        self.predictor = Predictor(s, grid)
        for network, prefix in ((self.encoder, "encoder."), (self.predictor, "predictor."),
                                (self.target, "target_encoder.")):
            network.load_state_dict({name[len(prefix):]: value for name, value in tensors.items()
                                     if name.startswith(prefix)})
        self.target.requires_grad_(False)
        for network in (self.encoder, self.predictor, self.target):
            network.to(arguments.device)
        if arguments.compile:
            dynamic = False if arguments.same_masks else None
            for network in (self.encoder, self.target):
                for block in network.blocks:
                    block.compile(dynamic=dynamic)
            for block in self.predictor.predictor_blocks:
                block.compile(dynamic=dynamic)
        self.optimiser = torch.optim.AdamW(parameter_groups(self.encoder, self.predictor), lr=0.0,
                                           betas=(s["beta1"], s["beta2"]), eps=s["eps"],
                                           **{arguments.adamw: True})
        self.pixels = pixels
        self.mean = 255 * torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1, 1)
        self.std = 255 * torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1, 1)
        self.mean, self.std = self.mean.to(arguments.device), self.std.to(arguments.device)
        self.parts = {}

    def lap(self, name):
        now = time.perf_counter()
        self.parts[name] = self.parts.get(name, 0) + 1e3 * (now - self.at)
        self.at = now

    def losses(self, pixels, context, target):
        pixels = pixels.to(self.arguments.device, non_blocking=True)
        clips = (pixels.float() - self.mean) / self.std
        patches = cut_patches(clips, self.sizes) if self.arguments.patch == "linear" else None
        self.lap("input")
        with torch.no_grad():
            h = self.target(clips, patches)
            h = F.layer_norm(h, (h.shape[-1],))
            goals = [take(h, tokens) for tokens in target]
        self.lap("target")
        total = 0
        for m, goal in enumerate(goals):
            x = self.encoder(clips, patches, context[m])
            z = self.predictor(x, context[m], target[m], m)
            total = total + (z - goal).abs().mean() / len(goals)
        self.lap("prediction")
        return total

    def run(self, plan, context, target):
        """Loss and gradient norms, as tensors: nothing is waited for."""
        self.parts, self.at = {}, time.perf_counter()
        batch, device = len(self.pixels), self.arguments.device
        micro = self.arguments.micro or batch
        context = [tokens.to(device, non_blocking=True) for tokens in context]
        target = [tokens.to(device, non_blocking=True) for tokens in target]
        total = 0
        for first in range(0, batch, micro):
            part = slice(first, first + micro)
            with torch.autocast(device, torch.bfloat16, self.arguments.dtype == "bfloat16"):
                loss = self.losses(self.pixels[part], [tokens[part] for tokens in context],
                                   [tokens[part] for tokens in target]) * (micro / batch)
            loss.backward()
            total = total + loss.detach()
            self.lap("backward")
        norms = []
        for network in (self.encoder, self.predictor):
            limit = plan["max_norm"] or float("inf")
            norms.append(nn.utils.clip_grad_norm_(network.parameters(), limit))
        for group in self.optimiser.param_groups:
            group["lr"] = plan["lr"]
            group["weight_decay"] = plan["weight_decay"] if group["decays"] else 0.0
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.encoder.parameters()),
                                 1 - plan["momentum"])
        self.lap("update")
        return total, norms


def index_lists(lists, batch):
    """[setting] of [B, K]; lists of unequal length cannot be stacked."""
    if any(len({len(tokens) for tokens in setting}) > 1 for setting in lists):
        raise SystemExit("the lists of a setting differ in length: write the twin with "
                         "--set mask.batch=truncate")
    lists = [torch.tensor(setting[:batch]) for setting in lists]
    return [tokens.pin_memory() for tokens in lists] if torch.cuda.is_available() else lists


def profile(step, plan, context, target):
    """Operators of one step by the time spent in themselves, waiting threads not counted."""
    gpu = step.arguments.device == "cuda"
    activity = torch.profiler.ProfilerActivity.CUDA if gpu else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as profiler:
        step.run(plan, context, target)
        if gpu:
            torch.cuda.synchronize()
    events = profiler.key_averages()

    def own(event):
        return event.self_device_time_total if gpu else event.self_cpu_time_total

    total = sum(own(event) for event in events)
    print(f"{'operator':60} {'calls':>6} {'own ms':>10} {'share':>7}")
    for event in sorted(events, key=lambda e: -own(e))[:20]:
        print(f"{event.key[:60]:60} {event.count:6} {own(event) / 1e3:10.1f} "
              f"{100 * own(event) / total:6.1f}%")
    print(f"all {total / 1e3:.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--batch", type=int, default=0, help="the first so many samples alone")
    parser.add_argument("--same-masks", action="store_true")
    parser.add_argument("--adamw", choices=["fused", "foreach"], default="fused")
    parser.add_argument("--patch", choices=["linear", "conv"], default="linear")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--micro", type=int, default=0, help="clips at a time; 0: all")
    parser.add_argument("--profile", action="store_true", help="one more step, by operator")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    libraries = peak_mib("VmRSS")
    with open(os.path.join(a.folder, "twin.json")) as file:
        sizes = json.load(file)
    batch = min(a.batch or sizes["batch"], sizes["batch"])
    shape = (sizes["batch"], 3, sizes["frames"], sizes["height"], sizes["width"])
    with open(os.path.join(a.folder, "clips.bin"), "rb") as file:
        pixels = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).view(shape)[:batch]
    tensors = read_safetensors(os.path.join(a.folder, "step-0", "model.safetensors"))
    if a.device == "cuda":
        pixels = pixels.pin_memory()
    step = Step(sizes, a, tensors, pixels)
    del tensors
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {a.dtype}"
          f"{', compiled' if a.compile else ''}, {batch} clips, libraries {libraries:.0f} MiB, "
          f"before the first step {peak_mib():.0f} MiB")
    plans = sizes["steps"]
    gpu = a.device == "cuda"
    results, ends = [], []
    for i in range(a.warmup + a.steps + a.profile):
        plan = plans[i % len(plans)]
        masks = plans[0] if a.same_masks else plan
        context = index_lists(masks["context"], batch)
        target = index_lists(masks["target"], batch)
        if i == a.warmup + a.steps:
            profile(step, plan, context, target)
            break
        cpu = time.process_time()
        loss, norms = step.run(plan, context, target)
        if gpu:
            ends.append(torch.cuda.Event(enable_timing=True))
            ends[-1].record()
        else:
            loss, norms = float(loss), [float(norm) for norm in norms]
        cpu = time.process_time() - cpu
        share = masks["flops"] * batch / sizes["batch"]
        tokens = " ".join(f"{c.numel()}>{t.numel()}" for c, t in zip(context, target))
        results.append((sum(step.parts.values()), cpu, share, loss, norms, tokens, step.parts))
        if not gpu:
            show(i, a, results[-1])
    if gpu:
        torch.cuda.synchronize()
        for i, result in enumerate(results):
            ms = ends[i - 1].elapsed_time(ends[i]) if i else float("nan")
            results[i] = (ms, result[1], result[2], float(result[3]),
                          [float(norm) for norm in result[4]], *result[5:])
            show(i, a, results[i])
    times, cpus, flops = ([r[k] for r in results[a.warmup:]] for k in range(3))
    peak = torch.cuda.max_memory_reserved() / 2**20 if gpu else peak_mib()
    print(f"result {statistics.median(times):.1f} {min(times):.1f} {min(cpus):.2f} "
          f"{peak:.0f} {sum(flops) / len(flops) / 1e12:.4f} {sum(flops) / sum(times) / 1e6:.1f}")


def show(i, a, result):
    ms, cpu, share, loss, norms, tokens, parts = result
    laps = " ".join(f"{name} {value:.1f}" for name, value in parts.items())
    print(f"step {i}{' (warm-up)' if i < a.warmup else ''}  {ms:.1f} ms, CPU {cpu:.2f} s: {laps}; "
          f"loss {loss:.6f}, gradients {norms[0]:.5g} {norms[1]:.5g}; tokens {tokens}; "
          f"{share / 1e12:.4f} TFLOP, {share / ms / 1e6:.1f} GFLOP/s", flush=True)


if __name__ == "__main__":
    main()

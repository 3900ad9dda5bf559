"""Writes sigreg.safetensors: the teacher-free objective in float64 by PyTorch's own operations and
automatic differentiation, for tests/jepa/test_sigreg.c. Inputs are float32 numbers; results are
float64. Run: python sigreg.py sigreg.safetensors"""
import json
import sys

import torch

VIEWS, CLIPS, WIDTH, HIDDEN, OUTPUT, DIRECTIONS, KNOTS, LAMBDA = 3, 5, 12, 16, 8, 10, 17, 0.5

torch.manual_seed(1)


def draw(*shape, scale=1.0, shift=0.0):
    return (shift + scale * torch.randn(*shape, dtype=torch.float64)).float().double()


inputs = {
    "features": draw(VIEWS, CLIPS, WIDTH),
    "net.0.weight": draw(HIDDEN, WIDTH, scale=0.3),
    "net.0.bias": draw(HIDDEN, scale=0.3),
    "net.1.weight": draw(HIDDEN, scale=0.2, shift=1.0),
    "net.1.bias": draw(HIDDEN, scale=0.2),
    "net.3.weight": draw(OUTPUT, HIDDEN, scale=0.4),
    "net.3.bias": draw(OUTPUT, scale=0.4),
}
a = torch.randn(OUTPUT, DIRECTIONS, dtype=torch.float64)
a = (a / a.norm(dim=0)).float().double()

net = torch.nn.Sequential(
    torch.nn.Linear(WIDTH, HIDDEN),
    torch.nn.BatchNorm1d(HIDDEN),
    torch.nn.GELU(),
    torch.nn.Linear(HIDDEN, OUTPUT),
).double()
with torch.no_grad():
    for name, parameter in net.named_parameters():
        parameter.copy_(inputs["net." + name])
features = inputs["features"].clone().requires_grad_()

e = net(features.reshape(-1, WIDTH)).reshape(VIEWS, CLIPS, OUTPUT)
invariance = (e[:1] - e).square().mean()

t = torch.linspace(0, 3, KNOTS, dtype=torch.float64)
phi = torch.exp(-t.square() / 2)
weights = torch.full((KNOTS,), 2 * 3 / (KNOTS - 1), dtype=torch.float64)
weights[0] = weights[-1] = 3 / (KNOTS - 1)
angles = (e @ a)[..., None] * t  # [V][G][M][J]
error = (angles.cos().mean(1) - phi).square() + angles.sin().mean(1).square()
statistic = (error * weights * phi).sum(-1) * CLIPS
sigreg = statistic.mean()
total = invariance + LAMBDA * sigreg
total.backward()

tensors = {name: (value, "F32") for name, value in inputs.items()}
tensors["directions"] = (a, "F32")
for name, value in {
    "scalars": torch.stack([invariance, sigreg, total]),
    "embeddings": e,
    "statistic": statistic,
    "d.features": features.grad,
    **{"d.net." + name: parameter.grad for name, parameter in net.named_parameters()},
    "net.1.running_mean": net[1].running_mean,
    "net.1.running_var": net[1].running_var,
}.items():
    tensors[name] = (value.detach(), "F64")

header, data = {}, b""
for name, (value, dtype) in tensors.items():
    raw = (value.float() if dtype == "F32" else value).contiguous().numpy().tobytes()
    header[name] = {
        "dtype": dtype,
        "shape": list(value.shape),
        "data_offsets": [len(data), len(data) + len(raw)],
    }
    data += raw
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(len(text).to_bytes(8, "little") + text + data)
print("invariance %.12g, sigreg %.12g, total %.12g" % tuple(tensors["scalars"][0]))

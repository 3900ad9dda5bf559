"""The program from a notebook: run it, show its pictures, and make the small run that the notebooks share.

The program is $JEPA, else build/jepa beside this folder."""
import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
from IPython.display import Image

PROGRAM = os.environ.get("JEPA") or str(Path(__file__).resolve().parent.parent / "build" / "jepa")

# Small enough for a minute on two cores: 8 frames of 48 x 48 pixels, 120 steps
SMALL = ["data.num_frames=8", "data.crop_size=48", "optimization.ipe=40", "optimization.epochs=3",
         "checkpoint.every=40 steps", "checkpoint.keep=10"]


def run(*arguments, quiet=False):
    """`jepa ARGUMENTS`; prints the command and what it says on stdout. An error ends the cell with its
    message."""
    arguments = [str(a) for a in arguments]
    if not quiet:
        print("$ jepa " + " ".join(f"'{a}'" if " " in a else a for a in arguments))
    done = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(said[-1] if said else f"jepa ended with return code {done.returncode} and said nothing")
    if not quiet:
        print(done.stdout, end="")


def sets(settings):
    """["a=1", "b=2"] -> ["--set", "a=1", "--set", "b=2"]"""
    return [word for setting in settings for word in ("--set", setting)]


def prepare(quiet=True):
    """Folders train, test and run in out/, as the first notebook makes them; what is there stays."""
    out = Path("out")
    out.mkdir(exist_ok=True)
    for name, seed in (("train", 1), ("test", 2)):
        if not (out / name / "videos.csv").exists():
            run("synth", "--out", out / name, "--videos", 96, "--size", 64, "--frames", 32, "--seed", seed,
                quiet=quiet)
    run("pretrain", "--data", out / "train", "--out", out / "run", "--resume", *sets(SMALL), quiet=quiet)
    return out / "train", out / "test", out / "run"


def png(pixels):
    """[height, width, 3] uint8 -> the bytes of a PNG."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in np.ascontiguousarray(pixels, np.uint8))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b""))


def show(pixels, zoom=1):
    """An array [height, width, 3] of uint8, or the path of a PNG, in the notebook."""
    if isinstance(pixels, (str, Path)):
        return Image(filename=str(pixels))
    return Image(data=png(np.repeat(np.repeat(pixels, zoom, 0), zoom, 1)))

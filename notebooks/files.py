"""What jepa.c writes, read with numpy and msgpack: safetensors, sealed records, feature stores.

Formats: base/safetensors.h, base/sealed.h, eval/store.h. Nothing here needs the program or libjepa."""
import hashlib
import json
import mmap
from pathlib import Path

import msgpack
import numpy as np

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
         "I8": "i1", "U8": "u1", "BOOL": "?"}


def from_bfloat16(bits):
    """uint16 -> float32: a bfloat16 is the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def read_safetensors(path):
    """{name: array} of a safetensors file, mapped and not copied (bfloat16 as float32, copied)."""
    with open(path, "rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    length = int.from_bytes(data[:8], "little")
    if 8 + length > len(data):
        raise ValueError(f"{path}: its header is longer than the file")
    header = json.loads(bytes(data[8:8 + length]))
    header.pop("__metadata__", None)
    tensors = {}
    for name, about in header.items():
        begin, end = about["data_offsets"]
        array = np.frombuffer(data[8 + length + begin:8 + length + end], TYPES[about["dtype"]])
        array = array.reshape(about["shape"])
        tensors[name] = from_bfloat16(array) if about["dtype"] == "BF16" else array
    return tensors


def blake2b(data):
    """The program's hash of some bytes: BLAKE2b-256."""
    return hashlib.blake2b(data, digest_size=32).digest()


def read_sealed(path):
    """A sealed record, its hash verified: checkpoint.msgpack, store.msgpack, shard-NNNNN.msgpack."""
    sealed = msgpack.unpackb(Path(path).read_bytes())
    if blake2b(sealed["header"]) != sealed["hash"]:
        raise ValueError(f"{path}: its hash does not match")
    return msgpack.unpackb(sealed["header"])


class Store:
    """A feature store. about, names, labels, class_names, failed (numbers of videos): as in
    store.msgpack. shards: [clips of it, rows, width] each, mapped, in the stored type (bfloat16 as its
    bits); `clips` has a dictionary for each clip."""

    def __init__(self, folder, verify=False):
        folder = Path(folder)
        header = read_sealed(folder / "store.msgpack")
        self.about, self.names = header["about"], header["names"]
        self.class_names, self.failed = header["class_names"], header["failed"]
        self.labels = np.array(header["labels"])
        a = self.about
        kind = "<f2" if a["type"] == "float16" else "<u2"
        shape = a["rows"], a["width"]
        self.shards, self.clips = [], []
        for number in range(len(header["shards"])):
            index = read_sealed(folder / f"shard-{number:05}.msgpack")
            shard = np.memmap(folder / f"shard-{number:05}.bin", kind, "r").reshape(-1, *shape)
            self.shards.append(shard)
            for i, (video, segment, view, failed, offset, frames, crop, digest) in enumerate(index["clips"]):
                self.clips.append(dict(video=video, segment=segment, view=view, failed=failed,
                                       frames=frames, crop=crop))
                if verify and blake2b(shard[i].tobytes()) != digest:
                    raise ValueError(f"{folder}: clip {i} of shard {number} is damaged")
        self.clips_of_video = a["segments"] * a["views"]

    def tokens(self, video, clip=0):
        """[rows, width] float32 of clip segment · views + view of a video; zeros where it could not be decoded."""
        if not (0 <= video < len(self.names) and 0 <= clip < self.clips_of_video):
            raise IndexError(f"no clip {clip} of video {video}: there are {self.clips_of_video} of {len(self.names)}")
        at = video * self.clips_of_video + clip
        for shard in self.shards:
            if at < len(shard):
                found = shard[at]
                return from_bfloat16(found) if found.dtype == np.uint16 else found.astype(np.float32)
            at -= len(shard)
        raise ValueError(f"no clip {clip} of video {video} in the shards")

    def means(self):
        """[videos, width]: the mean of each video's clips and rows, what linear probes read; NaN for a video
        that has failed (a clip of it could not be decoded)."""
        means = np.stack([np.mean([self.tokens(v, c).mean(0) for c in range(self.clips_of_video)], 0)
                          for v in range(len(self.names))])
        means[self.failed] = np.nan
        return means

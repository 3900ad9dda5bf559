"""jepa.c from Python: a thin binding over libjepa (experiments/libjepa.h), numpy arrays in and out.

    import jepa
    model = jepa.Model("run")                        # a RUN, its step-N, or a file of published weights
    tokens = model.encode_video("clip.mp4")          # [rows, dim] float32
    clip, frames = model.read_video("clip.mp4")      # [3, frames, height, width] uint8, [frames] int64
    tokens = model.encode(clip)                      # the same as above
    predicted, target = model.predict(clip, seen)    # [hidden, dim], [tokens, dim]

The library is looked for in $JEPA_LIBRARY, then in build/ beside this folder, then where the system
looks. Whatever the library refuses is a JepaError with its one line.
"""
import ctypes
import operator
import os
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_void_p
from pathlib import Path

import numpy as np

ABI = 1
SIZES = ("frames height width tubelet patch grid_time grid_height grid_width tokens rows dim target_dim "
         "mask_tokens depth heads step").split()
TEXTS = "source recipe hash device".split()
TYPES = {np.dtype(np.uint8): 0, np.dtype(np.float32): 1}


class JepaError(RuntimeError):
    """What libjepa says went wrong."""


def _load():
    beside = Path(__file__).resolve().parent.parent / "build" / "libjepa.so"
    path = os.environ.get("JEPA_LIBRARY") or (str(beside) if beside.exists() else "libjepa.so")
    try:
        lib = ctypes.CDLL(path)
    except OSError as error:
        raise JepaError(f"{error}: build it (cmake --build build --target jepa_shared), or set "
                        "JEPA_LIBRARY to the file") from None
    functions = {  # result, arguments: as in the header
        "jepa_abi": (c_int, []),
        "jepa_version": (c_char_p, []),
        "jepa_open": (c_int, [POINTER(c_void_p), c_char_p, c_char_p, c_char_p, c_int, POINTER(c_char_p)]),
        "jepa_close": (None, [c_void_p]),
        "jepa_error": (c_char_p, [c_void_p]),
        "jepa_size": (c_int64, [c_void_p, c_int]),
        "jepa_text": (c_char_p, [c_void_p, c_int]),
        "jepa_read_video": (c_int, [c_void_p, c_void_p, c_int, c_int64, c_void_p, c_char_p, c_int64]),
        "jepa_encode": (c_int, [c_void_p, c_void_p, c_int64, c_void_p, c_int, c_int64]),
        "jepa_encode_video": (c_int, [c_void_p, c_void_p, c_int64, c_void_p, c_char_p, c_int64]),
        "jepa_predict": (c_int, [c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int, c_int64,
                                 c_void_p, c_int64, c_void_p, c_int64, c_int]),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    if lib.jepa_abi() != ABI:
        raise JepaError(f"{path} speaks version {lib.jepa_abi()} of the interface, this file version {ABI}")
    return lib


_lib = _load()
version = _lib.jepa_version().decode()


def _text(what, value):
    """What the library is given for a str, bytes or path: it would stop at a NUL."""
    try:
        value = os.fsencode(value)
    except (TypeError, UnicodeError):
        raise JepaError(f"{what} {value!r}: expected a text") from None
    if b"\0" in value:
        raise JepaError(f"{what} {value!r}: a NUL is in it")
    return value


def _integer(what, value, low, high):
    """ctypes would cut off what does not fit."""
    try:
        value = operator.index(value)
    except TypeError:
        raise JepaError(f"{what} {value!r}: expected a whole number") from None
    if not low <= value <= high:
        raise JepaError(f"{what} {value}: expected {low} to {high}")
    return value


def _first(first):
    return _integer("first frame", first, -1, 2**63 - 1)


class Model:
    """A trained model, in float32. Its sizes are attributes: frames, height, width, tubelet, patch, grid
    (T, H, W), tokens (T·H·W), rows (tokens, and one with a class token), dim, target_dim (0: no
    predictor), mask_tokens, depth, heads, step; and source, recipe (YAML), hash, device.

    network: "target" or "context", the encoder that encodes. settings: changes of the recipe, such as
    "data.crop_size=96". May be used from several threads; they take turns."""

    def __init__(self, checkpoint, network=None, device=None, threads=0, settings=()):
        self._lock = threading.Lock()
        self._model = c_void_p()
        if isinstance(settings, (str, bytes)):
            raise JepaError(f"settings {settings!r}: expected a list of texts")
        texts = [_text("setting", s) for s in settings]
        if _lib.jepa_open(byref(self._model), _text("checkpoint", checkpoint),
                          None if network is None else _text("network", network),
                          None if device is None else _text("device", device),
                          _integer("threads", threads, 0, 2**31 - 1),
                          (c_char_p * (len(texts) + 1))(*texts, None)):
            text = _lib.jepa_error(self._model).decode(errors="replace")
            self.close()
            raise JepaError(text)
        for i, name in enumerate(SIZES):
            setattr(self, name, _lib.jepa_size(self._model, i))
        for i, name in enumerate(TEXTS):
            setattr(self, name, _lib.jepa_text(self._model, i).decode(errors="replace"))
        self.grid = self.grid_time, self.grid_height, self.grid_width
        self.clip_shape = 3, self.frames, self.height, self.width

    def close(self):
        """Frees it; what it gave stays valid."""
        with self._lock:
            model, self._model = self._model, c_void_p()
            _lib.jepa_close(model)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_model", None):
            self.close()

    def __repr__(self):
        return (f"<jepa.Model {self.source}: {self.frames} frames of {self.height}x{self.width}, "
                f"{self.rows} tokens of {self.dim} channels>")

    def _call(self, function, *arguments):
        with self._lock:
            if function(self._model, *arguments):
                raise JepaError(_lib.jepa_error(self._model).decode(errors="replace"))

    def _clip(self, clip):
        """Contiguous, of a type that the library takes; float64 becomes float32."""
        clip = np.asarray(clip)
        if clip.dtype == np.float64:
            clip = clip.astype(np.float32)
        if clip.dtype not in TYPES:
            raise JepaError(f"a clip of {clip.dtype}: expected uint8, or float32 normalised")
        if clip.shape != self.clip_shape:
            raise JepaError(f"a clip of shape {clip.shape}: expected {self.clip_shape}")
        return np.ascontiguousarray(clip)

    def read_video(self, path, first=-1, dtype=np.uint8):
        """The clip of a video that begins at frame `first` (-1: in its middle) as the model sees it, and
        the numbers of its frames. dtype float32: normalised."""
        if np.dtype(dtype) not in TYPES:
            raise JepaError(f"a clip of {np.dtype(dtype)}: expected uint8 or float32")
        clip, frames = np.empty(self.clip_shape, dtype), np.empty(self.frames, np.int64)
        self._call(_lib.jepa_read_video, clip.ctypes.data, TYPES[clip.dtype], clip.size, frames.ctypes.data,
                   _text("path", path), _first(first))
        return clip, frames

    def encode(self, clip):
        """[3, frames, height, width], uint8 or normalised float32 -> [rows, dim]; [clips, 3, ...] ->
        [clips, rows, dim]."""
        clip = np.asarray(clip)
        if clip.ndim == 5:
            out = np.empty((len(clip), self.rows, self.dim), np.float32)
            for i, one in enumerate(clip):
                out[i] = self.encode(one)
            return out
        clip, out = self._clip(clip), np.empty((self.rows, self.dim), np.float32)
        self._call(_lib.jepa_encode, out.ctypes.data, out.size, clip.ctypes.data, TYPES[clip.dtype], clip.size)
        return out

    def encode_video(self, path, first=-1):
        """[rows, dim] of the clip that read_video gives."""
        out = np.empty((self.rows, self.dim), np.float32)
        self._call(_lib.jepa_encode_video, out.ctypes.data, out.size, None, _text("path", path), _first(first))
        return out

    def token_list(self, tokens):
        """Ascending token numbers of a boolean mask [T, H, W] (or flat), or of a list of numbers."""
        tokens = np.asarray(tokens)
        if tokens.dtype == bool:
            if tokens.size != self.tokens:
                raise JepaError(f"a mask of shape {tokens.shape}: expected {self.grid}")
            return np.flatnonzero(tokens).astype(np.int32)
        if tokens.size and not np.issubdtype(tokens.dtype, np.integer):
            raise JepaError(f"tokens of {tokens.dtype}: expected whole numbers, or a boolean mask")
        tokens = np.unique(tokens)
        if tokens.size and not 0 <= tokens[0] <= tokens[-1] < self.tokens:
            raise JepaError(f"tokens from {tokens[0]} to {tokens[-1]}: expected 0 to {self.tokens - 1}")
        return tokens.astype(np.int32)

    def predict(self, clip, seen, hidden=None, mask_token=-1):
        """What the predictor says of the `hidden` tokens (None: all that are not seen), in ascending
        order, when the context encoder sees the tokens `seen` alone: [hidden, target_dim]; and what the
        target encoder says of all tokens of the clip: [tokens, target_dim]. Both on one scale: their
        mean absolute difference over the hidden tokens is the published loss."""
        mask_token = _integer("mask token", mask_token, -1, 2**31 - 1)
        clip, seen = self._clip(clip), self.token_list(seen)
        rest = np.setdiff1d(np.arange(self.tokens, dtype=np.int32), seen)
        hidden = rest if hidden is None else self.token_list(hidden)
        predicted = np.empty((len(hidden), self.target_dim), np.float32)
        target = np.empty((self.tokens, self.target_dim), np.float32)
        self._call(_lib.jepa_predict, predicted.ctypes.data, predicted.size, target.ctypes.data, target.size,
                   clip.ctypes.data, TYPES[clip.dtype], clip.size, seen.ctypes.data, len(seen),
                   hidden.ctypes.data, len(hidden), mask_token)
        return predicted, target

"""Called by test_binding.sh, in a folder with videos/, run/ and three stores of it."""
import importlib.util
import os
import shutil
import threading
import unittest
from pathlib import Path

import numpy as np

import files
import jepa

VIDEO = sorted(Path("videos").glob("*/*.mp4"))[0]


class Binding(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = jepa.Model("run", device="cpu")
        cls.clip, cls.frames = cls.model.read_video(VIDEO)

    @classmethod
    def tearDownClass(cls):
        cls.model.close()

    def refused(self, part, call, *arguments, **more):
        with self.assertRaises(jepa.JepaError) as caught:
            call(*arguments, **more)
        self.assertIn(part, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_sizes(self):
        m = self.model
        self.assertEqual((m.grid, m.tokens, m.rows, m.dim, m.target_dim), ((4, 4, 4), 64, 64, 96, 96))
        self.assertEqual((m.step, m.depth, m.heads, m.mask_tokens, m.device), (3, 4, 3, 2, "cpu"))
        self.assertIn("run/step-3, step 3", m.source)
        header = files.read_sealed("run/step-3/checkpoint.msgpack")
        self.assertEqual(header["recipe"], m.recipe)
        self.assertEqual(files.msgpack.unpackb(Path("run/step-3/checkpoint.msgpack").read_bytes())["hash"].hex(), m.hash)

    def test_clips(self):
        m, clip = self.model, self.clip
        self.assertEqual((clip.shape, clip.dtype), ((3, 8, 32, 32), np.uint8))
        self.assertTrue((np.diff(self.frames) == 2).all())
        values, _ = m.read_video(VIDEO, dtype=np.float32)
        mean, deviation = (np.array(v).reshape(3, 1, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        np.testing.assert_allclose(values, (clip / 255 - mean) / deviation, atol=1e-5)
        tokens = m.encode(clip)
        np.testing.assert_array_equal(tokens, m.encode(values))
        np.testing.assert_array_equal(tokens, m.encode(values.astype(np.float64)))
        np.testing.assert_array_equal(tokens, m.encode_video(VIDEO))
        mirrored = clip[..., ::-1]  # a view with a negative stride
        batch = m.encode(np.stack([clip, mirrored]))
        np.testing.assert_array_equal(batch[0], tokens)
        np.testing.assert_array_equal(batch[1], m.encode(mirrored))
        self.assertFalse(np.array_equal(batch[0], batch[1]))
        self.assertEqual(m.read_video(VIDEO, first=3)[1][0], 3)

    def test_predictions(self):
        m = self.model
        seen = np.zeros(m.grid, bool)
        seen[:2] = True
        predicted, target = m.predict(self.clip, seen)
        self.assertEqual((predicted.shape, target.shape), ((32, 96), (64, 96)))
        np.testing.assert_allclose(target.mean(1), 0, atol=1e-5)
        np.testing.assert_allclose(target.std(1), 1, atol=1e-3)
        again, _ = m.predict(self.clip, list(range(31, -1, -1)), np.arange(32, 64))
        np.testing.assert_array_equal(predicted, again)
        some, _ = m.predict(self.clip, seen, [63, 40])
        self.assertEqual(some.shape, (2, 96))
        other, _ = m.predict(self.clip, seen, mask_token=0)
        self.assertFalse(np.array_equal(predicted, other))

    def test_refusals(self):
        m, clip = self.model, self.clip
        self.refused("shape (3, 8, 32, 31)", m.encode, clip[..., 1:])
        self.refused("a clip of int64", m.encode, clip.astype(np.int64))
        self.refused("not a finite number", m.encode, np.full(clip.shape, np.nan, np.float32))
        self.refused("seen: expected 1 to 64", m.predict, clip, [])
        self.refused("hidden: expected 1 to 64", m.predict, clip, np.ones(m.grid, bool))
        self.refused("token 3 is both", m.predict, clip, [1, 3], [3, 4])
        self.refused("tokens from -1 to 5", m.predict, clip, [-1, 5])
        self.refused("tokens from 5 to 64", m.predict, clip, [5, 64])
        self.refused("a mask of shape (3,)", m.predict, clip, np.ones(3, bool))
        self.refused("whole numbers", m.predict, clip, [0.5])
        self.refused("mask token 9", m.predict, clip, [1], [2], mask_token=9)
        self.refused("no.mp4", m.encode_video, "no.mp4")
        self.refused("no run", jepa.Model, "no run")
        self.refused("network both", jepa.Model, "run", network="both")
        self.refused("network is missing", jepa.Model, "run", network="")
        self.refused("device is missing", jepa.Model, "run", device="")
        self.refused("network 7: expected a text", jepa.Model, "run", network=7)
        self.refused("checkpoint None", jepa.Model, None)
        self.refused("settings 'data.crop_size=48': expected a list", jepa.Model, "run", settings="data.crop_size=48")
        self.refused("setting None", jepa.Model, "run", settings=["data.crop_size=48", None])
        self.refused("a NUL is in it", jepa.Model, "run\0")
        self.refused("a NUL is in it", jepa.Model, "run", settings=["data.crop_size=48\0"])
        self.refused("a NUL is in it", m.encode_video, f"{VIDEO}\0")
        self.refused("a NUL is in it", m.read_video, f"{VIDEO}\0")
        # numbers that ctypes would take for others
        self.refused("threads 4294967297", jepa.Model, "run", threads=2**32 + 1)
        self.refused("threads 5000: expected 0 (all) to 4096", jepa.Model, "run", threads=5000)
        self.refused("threads 1.5: expected a whole number", jepa.Model, "run", threads=1.5)
        for call in m.read_video, m.encode_video:
            self.refused("first frame 18446744073709551616", call, VIDEO, 2**64)
            self.refused("first frame -2", call, VIDEO, -2)
            self.refused("not at 9223372036854775807", call, VIDEO, 2**63 - 1)
            self.refused("first frame 0.0: expected a whole number", call, VIDEO, 0.0)
        self.refused("mask token 4294967296", m.predict, clip, [1], [2], mask_token=2**32)
        np.testing.assert_array_equal(m.encode_video(VIDEO, np.int64(3)), m.encode_video(VIDEO, 3))
        closed = jepa.Model("run", device="cpu")
        closed.close()
        closed.close()
        self.refused("no model", closed.encode, clip)
        np.testing.assert_array_equal(m.encode(clip), m.encode_video(VIDEO))  # and it goes on

    def test_threads_and_models(self):
        expected, found = self.model.encode(self.clip), [None] * 4
        with jepa.Model("run", device="cpu", settings=["data.crop_size=48"]) as large:
            self.assertEqual(large.grid, (4, 6, 6))

        def work(i):
            with jepa.Model("run", device="cpu", threads=1) as own:
                found[i] = own.encode(self.clip), self.model.encode(self.clip)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(found))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for own, shared in found:
            np.testing.assert_array_equal(shared, expected)
            np.testing.assert_allclose(own, expected, atol=1e-4)

    def test_the_hosts_threads(self):
        """OpenBLAS's number (of the process) and OpenMP's (of each thread) are after a call what they were
        before it, whichever thread calls, and change no bit."""
        lib, expected, found = jepa._lib, self.model.encode(self.clip), []

        def numbers():
            return lib.openblas_get_num_threads(), lib.omp_get_max_threads()

        def work(openmp):
            lib.omp_set_num_threads(openmp)
            before = numbers()
            with jepa.Model("run", device="cpu", threads=1) as own:
                found.append((numbers(), before))
                a, b = own.encode(self.clip), self.model.encode(self.clip)
                c, d = own.predict(self.clip, [1, 2])[0], own.encode_video(VIDEO)
            self.refused("no run", jepa.Model, "no run")
            found.append((numbers(), before, a, b, c, d))

        threads_before = numbers()
        try:
            lib.openblas_set_num_threads(2)
            work(3)
            for threads in [threading.Thread(target=work, args=(5,))], [
                    threading.Thread(target=work, args=(i,)) for i in (2, 3, 4)]:
                ended = len(found)
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                self.assertEqual(len(found), ended + 2 * len(threads))
                self.assertEqual(numbers(), (2, 3))
        finally:
            lib.openblas_set_num_threads(threads_before[0])
            lib.omp_set_num_threads(threads_before[1])
        for after, before, *out in found:
            self.assertEqual(after[1], before[1])
            if out:
                np.testing.assert_array_equal(out[1], expected)
                for tokens, first in zip(out, found[1][2:]):
                    np.testing.assert_array_equal(tokens, first)
        for after, before, *_ in found[:4]:  # one after another
            self.assertEqual(after, before)

    def test_stores(self):
        exact = np.stack([[self.model.encode_video(f"videos/{name}", first) for first in firsts]
                          for name, firsts in self.firsts()])
        for name, step in (("half", 2.0**-11), ("brain", 2.0**-8)):
            store = files.Store(name, verify=True)
            stored = np.stack([[store.tokens(v, c) for c in (0, 1)] for v in range(8)])
            self.assertEqual(stored.shape, (8, 2, 64, 96))
            # rounding to 11 or 8 bits, and batches of eight that may sum otherwise
            np.testing.assert_allclose(stored, exact, rtol=step, atol=5e-4)
            np.testing.assert_allclose(store.means(), exact.mean((1, 2)), atol=2e-3)
        pooled = files.Store("pooled", verify=True)
        np.testing.assert_allclose(pooled.means(), exact.mean((1, 2)), atol=2e-3)
        self.assertEqual(len(pooled.class_names), 8)
        for video, clip in (8, 0), (-1, 0), (0, 2), (0, -1), (7, 2), (-8, 16):
            self.assertRaises(IndexError, pooled.tokens, video, clip)

    def test_failed_videos(self):
        shutil.copytree("half", "failed")
        header = files.read_sealed("failed/store.msgpack")
        header["failed"] = [3]
        packed = files.msgpack.packb(header)
        Path("failed/store.msgpack").write_bytes(
            files.msgpack.packb({"hash": files.blake2b(packed), "header": packed}))
        whole, failed = files.Store("half").means(), files.Store("failed").means()
        self.assertTrue(np.isnan(failed[3]).all())
        np.testing.assert_array_equal(np.delete(failed, 3, 0), np.delete(whole, 3, 0))
        shutil.rmtree("failed")

    @unittest.skipUnless(importlib.util.find_spec("IPython"), "program.py shows pictures with IPython")
    def test_a_program_that_says_nothing(self):
        import program
        program.PROGRAM = "false"
        with self.assertRaisesRegex(RuntimeError, "return code 1"):
            program.run("doctor", quiet=True)

    def firsts(self):
        store = files.Store("half")
        for v, name in enumerate(store.names):
            yield name, [c["frames"][0] for c in store.clips if c["video"] == v]

    def test_files(self):
        weights = files.read_safetensors("run/step-3/model.safetensors")
        header = files.read_sealed("run/step-3/checkpoint.msgpack")
        hashes = dict(map(tuple, header["tensors"]))
        for name, tensor in weights.items():
            self.assertEqual(files.blake2b(tensor.tobytes()), hashes[name])
        bytes_ = bytearray(Path("half/store.msgpack").read_bytes())
        bytes_[60] ^= 1
        Path("damaged.msgpack").write_bytes(bytes_)
        with self.assertRaisesRegex(ValueError, "does not match"):
            files.read_sealed("damaged.msgpack")
        os.remove("damaged.msgpack")
        values = np.array([1, -2.5, 3e38], np.float32)
        np.testing.assert_array_equal(files.from_bfloat16((values[:2].view(np.uint32) >> 16).astype(np.uint16)), values[:2])


unittest.main(verbosity=0)

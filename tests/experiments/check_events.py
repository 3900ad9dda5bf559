#!/usr/bin/env python3
"""Do event files hold exactly what a log holds? Reads records and protobuf by hand, checks both
checksums of every record, and compares tags, steps and values: of every column each step once.
    check_events.py FOLDER LOG.csv"""
import csv
import glob
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        head, body = data[at : at + 8], data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 8)[0] == masked(head), f"{path}: length at {at}"
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(body), f"{path}: data at {at}"
        yield body
        at += 16 + length


def fields(data):
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        wire = key & 7
        if wire == 0:
            yield key >> 3, varint()
        elif wire == 1:
            yield key >> 3, struct.unpack_from("<d", data, at)[0]
            at += 8
        elif wire == 5:
            yield key >> 3, struct.unpack_from("<f", data, at)[0]
            at += 4
        else:
            length = varint()
            yield key >> 3, data[at : at + length]
            at += length


folder, log = sys.argv[1:]
got = {}
for path in sorted(glob.glob(glob.escape(folder) + "/events.out.tfevents.*")):
    events = [dict(fields(record)) for record in records(path)]
    if not events:  # of a process that was killed just then
        continue
    assert events[0][3] == b"brain.Event:2", f"{path}: no version"
    time = 0
    for event in events[1:]:
        assert event[1] >= time - 1, f"{path}: time runs backwards"
        time = event[1]
        for number, value in fields(event.get(5, b"")):
            value = dict(fields(value))
            tag = value[1].decode()
            steps = got.setdefault(tag.split("/", 1)[1], {})
            assert event[2] not in steps, f"{path}: {tag} has step {event[2]} twice"
            steps[event[2]] = value[2]
want = {}
for row in csv.DictReader(open(log)):
    for name, text in row.items():
        if text and name not in ("epoch", "itr", "step", "branch"):
            want.setdefault(name, {})[int(row["step"])] = float(text)
assert want.keys() == got.keys(), f"columns {want.keys() ^ got.keys()}"
for name, steps in want.items():
    assert steps.keys() == got[name].keys(), f"{name}: steps {sorted(steps.keys() ^ got[name].keys())}"
    for step, value in steps.items():
        # float32 keeps 24 bits of a value
        assert abs(got[name][step] - value) <= 2**-23 * abs(value), f"{name} at {step}"
print(f"{len(want)} columns of {len(want['loss'])} steps")

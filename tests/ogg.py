"""What other programs say of an Ogg Opus stream: ffprobe, libopusfile and PyAV."""

import ctypes
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

_CHUNK = 5_760


@dataclass(frozen=True)
class Verdict:
    """What a reader found: channels, and samples at 48 kHz without the pre-skip."""

    channels: int
    samples: int


def probe(stream: bytes) -> Verdict:
    """ffprobe's verdict; a warning of it is a failure."""
    if shutil.which("ffprobe") is None:
        if not os.environ.get("CI"):
            pytest.skip("ffprobe is not installed: ./scripts/setup test")
        pytest.fail("ffprobe is not installed: ./scripts/setup test")
    done = subprocess.run(
        ["ffprobe", "-v", "warning", "-count_packets", "-show_streams", "-show_packets", "-of", "json", "-"],
        input=stream, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.decode()) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    assert len(told["streams"]) == 1
    (found,) = told["streams"]
    assert (found["codec_name"], found["sample_rate"]) == ("opus", "48000")
    samples = sum(int(packet["duration"]) for packet in told["packets"])
    return Verdict(int(found["channels"]), samples)


def read_by_libopusfile(stream: bytes) -> Verdict:
    """libopusfile's verdict, which decodes all and fails on a hole."""
    try:
        library = ctypes.CDLL("libopusfile.so.0")
    except OSError:
        if not os.environ.get("CI"):
            pytest.skip("libopusfile0 is not installed: ./scripts/setup test")
        raise
    library.op_open_memory.restype = ctypes.c_void_p
    library.op_open_memory.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)]
    library.op_pcm_total.restype = ctypes.c_int64
    library.op_pcm_total.argtypes = [ctypes.c_void_p, ctypes.c_int]
    for name in ("op_link_count", "op_channel_count", "op_free"):
        getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_int][: 2 if "channel" in name else 1]
    library.op_read.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    error = ctypes.c_int()
    file = library.op_open_memory(stream, len(stream), ctypes.byref(error))
    assert file, f"libopusfile refuses the stream: {error.value}"
    try:
        assert library.op_link_count(file) == 1
        channels = library.op_channel_count(file, -1)
        room = (ctypes.c_int16 * (2 * _CHUNK))()
        samples = 0
        while (count := library.op_read(file, room, len(room), None)) > 0:
            samples += count
        assert count == 0, f"libopusfile found a hole or a broken packet: {count}"
        assert library.op_pcm_total(file, -1) == samples
        return Verdict(channels, samples)
    finally:
        library.op_free(file)

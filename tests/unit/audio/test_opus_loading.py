"""Which libopus is taken: in a fresh interpreter each, since a library stays loaded."""

import importlib.util
import subprocess
import sys

_WITHOUT_DEBIANS = """
import ctypes.util, warnings
warnings.simplefilter("error")
ctypes.util.find_library = lambda name: None
from mimi_mqtt.audio import opus
import numpy as np
print(opus.libopus_version(), len(opus.OpusEncoder(16000).encode(np.zeros(960, np.int16))) > 0)
"""


def test_the_wheels_library_is_used_when_debian_has_none() -> None:
    assert importlib.util.find_spec("av") is not None, "the dev environment brings the `libopus` extra"
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_DEBIANS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("libopus 1.")
    assert done.stdout.strip().endswith("True")


def test_opuslibs_syntax_warning_stays_quiet(tmp_path: object) -> None:
    code = "from mimi_mqtt.audio import opus; opus.libopus_version()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", f"pycache_prefix={tmp_path}", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
